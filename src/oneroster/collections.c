/*
 * collections.c
 *	  Reads the collections of a roster side by side, in rounds, up to the requests
 *	  that the run may have in flight, and notes what each came to.
 *
 * What it must survive: an endpoint that is denied, which others may replace; a
 * list of objects that breaks off, of which nothing ends then, while people and
 * the other lists go on; a SIS that no longer answers; a server that does not heed
 * the filter of a delta.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/error.h"
#include "base/run_row.h"
#include "base/transaction.h"
#include "oneroster/client.h"
#include "oneroster/collection.h"
#include "oneroster/collection_read.h"
#include "oneroster/collections.h"
#include "oneroster/endpoint.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/needs.h"
#include "oneroster/page_request.h"
#include "oneroster/proof.h"
#include "oneroster/seen_ids.h"
#include "oneroster/stage.h"

#define MOMENT_MS 500

/*
 * Whether a list that is filtered by role, and ended before its claimed total,
 * claims as many rows as the list without the filter does: such a server counts
 * before it filters.  One request, and none beside it.
 */
static bool
claims_whole_list(CollectionRead *read)
{
	RosterClient *client = read->roster->client;
	MemoryContext caller;
	MemoryContext context;
	HttpResponse *response;
	bool		as_many;

	if (read->end != END_EMPTY_PAGE || read->total <= read->rows || strstr(read->path, "?filter=role=") == NULL)
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "minga_roster total", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	client_wait_for_all(client);
	as_many = get_page(client, pnstrdup(read->path, strcspn(read->path, "?")), "sourcedId", 1, 0, 0,
					   &response) == NULL &&
		response->total_count == read->total;
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return as_many;
}

/*
 * The collection's row is due: with the end of the fetch, if that comes in a
 * moment; a delta's at once, since it is asked whether the filter was heeded.
 */
static void
note_collection(CollectionRead *read)
{
	RosterRun  *run = read->roster->run;
	MemoryContext caller = MemoryContextSwitchTo(read->context);

	if (run->unstored == NIL)
		read->roster->unstored_since = GetCurrentTimestamp();
	run->unstored = lappend(run->unstored, read);
	MemoryContextSwitchTo(caller);
	if (read->judge.collection->filtered && read->judge.collection->kind == PAGE_USERS)
		store_collections(run);
}

/*
 * An endpoint is read, or denied itself: there may be another one to fall back on.
 * What the collection came to is stored with what comes next.
 */
static void
end_endpoint(CollectionRead *read)
{
	const RosterCollection *collection = read->judge.collection;

	if (read->fault != NULL)
	{
		add_sentence(&read->detail, "%s: %s.", read->path, read->fault->message);
		if (*read->fallbacks != NULL)
		{
			read->fault = NULL;
			begin_endpoint(read, *read->fallbacks++);
			return;
		}
	}
	else if (read->path != collection->path)
		add_sentence(&read->detail, "Read from %s instead.", read->path);
	if (read->fault == NULL)
		read->total_is_unfiltered = claims_whole_list(read);
	note_collection(read);
}

/* Whether rows came that were not asked for; the stage is empty and the run a full one then. */
static bool
filter_is_ignored(RosterRun *run, const RosterCollection *collection)
{
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID};
	Datum		values[] = {Int64GetDatum(run->run), CStringGetTextDatum(collection->name),
	CStringGetTextDatum(collection->family)};
	bool		isnull;
	bool		ignored;

	begin_worker_transaction();
	execute_statement("SELECT minga_roster_internal.filter_is_ignored($1, $2, $3)", 3, types, values, NULL);
	ignored = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	commit_worker_transaction();
	if (ignored)
	{
		run->rows_staged = 0;
		run->rows_expected = -1;
	}
	return ignored;
}

/* The page that is due has come, or will not come. */
static bool
is_page_ready(const CollectionRead *read)
{
	return read->nrequests > 0 && client_get_has_ended(read->requests[0].get);
}

/* Whether an error is the fault of what the SIS answered, or did not, and no limit of ours. */
static bool
is_fault_of_sis(const ErrorData *error)
{
	if (strcmp(error->domain, TEXTDOMAIN) != 0)
		return false;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_CONNECTION_FAILURE):
		case ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION):
		case ERRCODE_TO_CATEGORY(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION):
			return true;
	}
	/* It asks for fewer requests; or denies a page after the first. */
	return error->sqlerrcode == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED ||
		error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE || error->sqlerrcode == ERRCODE_UNDEFINED_OBJECT;
}

/* A fault of the SIS in a list of objects: what it had is not complete, and nothing of it ends. */
static void
break_off(CollectionRead *read, const char *message)
{
	read->end = END_BROKEN_OFF;
	read->fault = NULL;
	add_sentence(&read->detail, "%s.", message);
	finish(read);
}

/* As take_first_request; an answer that cannot be used breaks off this list alone, and the others go on. */
static void
take_request_of_objects(CollectionRead *read)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		answered = (read->requests[0].get->response.status != 0);

	PG_TRY();
	{
		take_first_request(read);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (!answered || !is_fault_of_sis(error))
			PG_RE_THROW();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(caller);
		break_off(read, error->message);
	}
	PG_END_TRY();
}

/*
 * Reads the collections of one round side by side.  NULL, or the first fault
 * where all were denied; adds the names of those that were to *denied.
 */
static RosterFault *
read_round(RosterRead *roster, List *collections, List **denied, bool *filter_ignored)
{
	RosterClient *client = roster->client;
	List	   *reads;
	ListCell   *cell;
	int			left = list_length(collections);
	bool		readable = false;
	bool		ready = false;
	RosterFault *first_fault = NULL;

	roster->page_size = page_size_for(&client->facts);
	roster->seen = seen_ids_make();
	roster->reads = NIL;
	foreach(cell, collections)
		roster->reads = lappend(roster->reads, begin_collection(roster, lfirst(cell), list_length(roster->reads)));
	reads = roster->reads;

	while (left > 0 && !client->revision_changed && !*filter_ignored)
	{
		foreach(cell, reads)
		{
			if (!((CollectionRead *) lfirst(cell))->done)
				request_pages(lfirst(cell));
		}
		if (roster->run->unstored != NIL &&
			TimestampDifferenceExceeds(roster->unstored_since, GetCurrentTimestamp(), MOMENT_MS))
			store_collections(roster->run);
		/* While there are pages to take, the others are only helped on their way. */
		client_wait(client, !ready);
		ready = false;
		foreach(cell, reads)
		{
			CollectionRead *read = lfirst(cell);

			if (client->revision_changed || *filter_ignored)
				break;
			if (!is_page_ready(read))
				continue;
			if (read->judge.collection->kind > PAGE_ORGS)
				take_request_of_objects(read);
			else
				take_first_request(read);
			ready |= is_page_ready(read);
			if (read->done)
				end_endpoint(read);
			if (!read->done)
				continue;
			left--;
			readable |= (read->fault == NULL);
			if (read->fault != NULL)
				*denied = lappend(*denied, read->judge.collection->name);
			if (first_fault == NULL)
				first_fault = read->fault;
			/* Of objects more rows than were asked for do no harm. */
			*filter_ignored = (read->judge.collection->filtered && read->judge.collection->kind == PAGE_USERS &&
							   filter_is_ignored(roster->run, read->judge.collection));
		}
	}
	foreach(cell, reads)
		forget_requests(lfirst(cell));
	stage_note_repeats(roster->stage, seen_ids_repeat(roster->seen));
	return readable ? NULL : first_fault;
}

/*
 * Reads a round of objects.  Where the SIS no longer answers, the lists that are
 * not read to their end are stored as incomplete, and people go on: of these
 * lists nothing ends then.
 */
static void
read_round_of_objects(RosterRead *roster, List *collections, List **denied, bool *filter_ignored)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;
	ListCell   *cell;

	PG_TRY();
	{
		(void) read_round(roster, collections, denied, filter_ignored);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (!is_fault_of_sis(error))
			PG_RE_THROW();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(caller);
	}
	PG_END_TRY();
	if (error == NULL)
		return;
	foreach(cell, roster->reads)
	{
		CollectionRead *read = lfirst(cell);

		if (read->done)
			continue;
		break_off(read, error->message);
		note_collection(read);
	}
}

/* Whether classes name sessions that no list of the run has.  In a transaction of its own. */
static bool
sessions_are_missing(const RosterRun *run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};
	bool		isnull;
	bool		missing;

	begin_worker_transaction();
	execute_statement("SELECT minga_roster_internal.sessions_are_missing($1)", 1, types, values, NULL);
	missing = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	commit_worker_transaction();
	return missing;
}

/* Those of a round that are to be read: some are only where another one was denied, or has not all sessions. */
static List *
collections_due(const RosterRun *run, List *collections, int round, List *denied)
{
	List	   *due = NIL;
	ListCell   *cell;

	foreach(cell, collections)
	{
		RosterCollection *collection = lfirst(cell);
		bool		is_due = (collection->round == round && collection->instead_of == NULL);
		ListCell   *name;

		foreach(name, denied)
			is_due |= (collection->round == round && collection->instead_of != NULL &&
					   strcmp(collection->instead_of, lfirst(name)) == 0);
		if (!is_due && collection->round == round && collection->or_beside)
			is_due = sessions_are_missing(run);
		if (is_due)
			due = lappend(due, collection);
	}
	return due;
}

/*
 * Reads the collections into the stage, with up to so many requests in flight,
 * and has a row for each in run->unstored, for store_collections: first those of
 * people, then those of objects, which go by the people.  NULL, or the first
 * fault where all of people were denied.  Ends early where what the server shows
 * to the key changes during it (client->revision_changed), and where a delta
 * finds that the server ignores what it asks for, so that all has to be read
 * (*filter_ignored).  Raises what stops the run.  Not inside a transaction.
 */
RosterFault *
read_collections(RosterClient *client, RosterRun *run, Stage *stage, RosterNeeds *needs, List *collections,
				 int requests, bool *filter_ignored)
{
	List	   *denied = NIL;
	RosterFault *fault = NULL;
	ListCell   *cell;

	foreach(cell, collections)
	{
		if (((RosterCollection *) lfirst(cell))->kind > PAGE_ORGS)
			stage_begin_digest(stage);
	}
	for (int round = 0; round < COLLECTION_ROUNDS && fault == NULL; round++)
	{
		RosterRead *roster = palloc0(sizeof(RosterRead));
		List	   *due;

		if (client->revision_changed || *filter_ignored)
			break;
		due = collections_due(run, collections, round, denied);
		if (due == NIL)
			continue;
		roster->client = client;
		roster->run = run;
		roster->stage = stage;
		roster->needs = needs;
		roster->requests = Min(requests, REQUESTS_MAX);
		if (round == 0)
			fault = read_round(roster, due, &denied, filter_ignored);
		else
			read_round_of_objects(roster, due, &denied, filter_ignored);
	}
	return fault;
}
