/*
 * attempt.c
 *	  Finds out what a first page is refused for: asks for it with less, one thing
 *	  after the other, and learns what helps (facts.c).
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "net/http.h"
#include "oneroster/attempt.h"
#include "oneroster/client.h"
#include "oneroster/endpoint.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/page.h"
#include "oneroster/page_request.h"
#include "oneroster/row_values.h"

#define SMALLEST_PAGE 10

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
judge_attempt(ServerFacts *facts, Attempt *attempt, bool answered)
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
			learn_fact(facts, "fields", "refused");
			return false;
		case ATTEMPT_SMALL:
			if (!answered)
				return next_attempt(attempt, ATTEMPT_SORT, ASK_WITHOUT_SORT, attempt->wanted);
			return next_attempt(attempt, ATTEMPT_HALF, 0, Max(attempt->wanted / 2, least));
		case ATTEMPT_HALF:
			if (!answered && attempt->limit > least)
				return next_attempt(attempt, ATTEMPT_HALF, 0, Max(attempt->limit / 2, least));
			learn_fact(facts, "limit", psprintf("%d", attempt->limit));
			return false;
		case ATTEMPT_SORT:
			if (!answered)
			{
				/* Several at once. */
				learn_fact(facts, "fields", "refused");
				learn_fact(facts, "limit", psprintf("%d", least));
			}
			learn_fact(facts, "sort", "refused");
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
is_page_there(const PageReader *reader, const RosterFault *fault, bool with_rows)
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
		RosterFault *fault;

		probe.take_row = take_no_row;
		fault = get_page(client, reader->path, reader->fields, attempt.limit, 0, attempt.flags, &response);
		if (fault == NULL)
			fault = read_page(&probe, response);
		answered = is_page_there(&probe, fault, with_rows);
		MemoryContextReset(context);
	} while (judge_attempt(&client->facts, &attempt, answered));
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return attempt.helped;
}
