/*
 * facts.c
 *	  What a SIS refuses of the way in which it is asked, found out and remembered.
 *
 * Facts only ever take something away from a request: fields, order, rows, the
 * overlap.  None of them ends a list or proves that one was read whole, so that
 * a server gains nothing by teaching a wrong one.  A fact is kept for a week
 * (fresh_facts) and then learned again where it still holds.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "oneroster/fetch.h"

#define SMALLEST_PAGE 10

static void
set_fact(ServerFacts *facts, const char *fact, const char *value)
{
	if (strcmp(fact, "fields") == 0)
		facts->no_fields = true;
	else if (strcmp(fact, "sort") == 0)
		facts->no_sort = true;
	else if (strcmp(fact, "order") == 0)
		facts->no_order = true;
	else if (strcmp(fact, "limit") == 0)
		facts->limit = atoi(value);
	else if (strcmp(fact, "overlap") == 0)
		facts->overlap = strcmp(value, "empty") == 0 ? OVERLAP_EMPTY : OVERLAP_REFUSED;
}

/* Loads what is known of the client's server.  Not inside a transaction. */
void
load_facts(RosterClient *client)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(client->connection->name)};

	begin_worker_transaction();
	SPI_execute_with_args("SELECT fact, value FROM minga_roster_internal.fresh_facts($1)", 1, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		set_fact(&client->facts, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1),
				 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2));
	commit_worker_transaction();
}

/* Keeps a fact, in a transaction of its own: a run that fails has learned it all the same. */
void
learn_fact(RosterClient *client, const char *fact, const char *value)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(client->connection->name), CStringGetTextDatum(fact),
	CStringGetTextDatum(value), Int64GetDatum(client->run->run)};

	set_fact(&client->facts, fact, value);
	begin_worker_transaction();
	SPI_execute_with_args("SELECT minga_roster_internal.learn_fact($1, $2, $3, $4)", 4, types, values, NULL, false, 0);
	commit_worker_transaction();
}

/* Rows to ask for in a page. */
int
page_size_for(const RosterClient *client)
{
	int			page_size = client->connection->page_size;

	return client->facts.limit > 0 ? Min(page_size, client->facts.limit) : page_size;
}

/*
 * Begins to look for what a first page of so many rows is refused for.  Each
 * attempt is for the caller to make, with its limit and flags.
 */
void
begin_attempts(Attempt *attempt, int wanted)
{
	memset(attempt, 0, sizeof(Attempt));
	attempt->wanted = wanted;
	attempt->step = ATTEMPT_LEAST;
	attempt->flags = ASK_WITHOUT_FIELDS | ASK_WITHOUT_SORT;
	attempt->limit = Max(1, Min(SMALLEST_PAGE, wanted / 2));
}

static bool
next_attempt(Attempt *attempt, AttemptStep step, int flags, int limit)
{
	attempt->step = step;
	attempt->flags = flags;
	attempt->limit = limit;
	return true;
}

/*
 * Takes what came of an attempt.  True: there is another one to be made.  False:
 * that was the last; attempt->helped says whether the page can be had now, be
 * it with what was learned or because the refusal has passed.
 */
bool
judge_attempt(RosterClient *client, Attempt *attempt, bool answered)
{
	int			least = Max(1, Min(SMALLEST_PAGE, attempt->wanted / 2));

	switch (attempt->step)
	{
		case ATTEMPT_LEAST:
			if (!answered)
				return false;
			attempt->helped = true;
			return next_attempt(attempt, ATTEMPT_AGAIN, 0, attempt->wanted);
		case ATTEMPT_AGAIN:
			if (answered)
				return false;
			return next_attempt(attempt, ATTEMPT_FIELDS, ASK_WITHOUT_FIELDS, attempt->wanted);
		case ATTEMPT_FIELDS:
			if (!answered)
				return next_attempt(attempt, ATTEMPT_SMALL, 0, least);
			learn_fact(client, "fields", "refused");
			return false;
		case ATTEMPT_SMALL:
			if (!answered)
				return next_attempt(attempt, ATTEMPT_SORT, ASK_WITHOUT_SORT, attempt->wanted);
			return next_attempt(attempt, ATTEMPT_HALF, 0, Max(attempt->wanted / 2, least));
		case ATTEMPT_HALF:
			if (!answered && attempt->limit > least)
				return next_attempt(attempt, ATTEMPT_HALF, 0, Max(attempt->limit / 2, least));
			learn_fact(client, "limit", psprintf("%d", attempt->limit));
			return false;
		case ATTEMPT_SORT:
			if (!answered)
			{
				/* Several at once. */
				learn_fact(client, "fields", "refused");
				learn_fact(client, "limit", psprintf("%d", least));
			}
			learn_fact(client, "sort", "refused");
			return false;
	}
	return false;
}

static void
take_no_row(void *taker, PageRow *row)
{
}

/*
 * Whether a page that was asked for in an attempt is there: a list, and where
 * it was an empty one that the attempts began with, one with rows.
 */
bool
is_page_there(const PageReader *reader, const ClientFault *fault, bool with_rows)
{
	return fault == NULL && !reader->bare && !reader->null_list && (!with_rows || reader->rows > 0);
}

/*
 * Looks for what a first page is refused for, one attempt after the other, and
 * learns it.  True where the page can be had now.  Not inside a transaction.
 */
bool
find_out_refusal(RosterClient *client, const PageReader *reader, int wanted, bool with_rows)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "minga_roster attempts", ALLOCSET_DEFAULT_SIZES);
	Attempt		attempt;
	bool		answered;

	MemoryContextSwitchTo(context);
	begin_attempts(&attempt, wanted);
	do
	{
		PageReader	probe = *reader;
		HttpResponse *response;
		ClientFault *fault;

		probe.take_row = take_no_row;
		fault = get_page(client, reader->path, attempt.limit, 0, attempt.flags, &response);
		if (fault == NULL)
			fault = read_page(&probe, response);
		answered = is_page_there(&probe, fault, with_rows);
		MemoryContextReset(context);
	} while (judge_attempt(client, &attempt, answered));
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return attempt.helped;
}
