/*
 * fetch.c
 *	  The fetch of a run: the school, then its collections, into the stage; and
 *	  what readers of pages share.
 *
 * What it must survive: an evening that ends while the SIS is still answering, a
 * SIS that does not come to an end, and permissions of the key that change in the
 * middle, after which everything is read again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/connection.h"
#include "base/error.h"
#include "base/run_row.h"
#include "base/transaction.h"
#include "oneroster/client.h"
#include "oneroster/collections.h"
#include "oneroster/endpoint.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/needs.h"
#include "oneroster/proof.h"
#include "oneroster/schools.h"
#include "oneroster/stage.h"
#include "run/fetch.h"

#define READS_MAX 4				/* the first, and three more */

struct Fetch
{
	RosterRun  *run;
	RosterClient *client;
	int			requests;		/* at a time */
	char	   *likely_outcome; /* of a row, or NULL where no plan follows */
	MemoryContext context;
};

/* Says in the run's row whether it asks only for what changed.  In a transaction of its own, as the next one. */
static void
begin_read(RosterRun *run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};

	begin_worker_transaction();
	execute_statement("SELECT minga_roster_internal.begin_read($1)", 1, types, values, NULL);
	commit_worker_transaction();
}

/* Sets the stage right and marks the run as a full read, unless it is a delta. */
static void
settle(RosterConnection *connection, RosterRun *run, Stage *stage)
{
	StageContent content = stage_content(stage);
	char	   *digest = stage_digest(stage);
	Oid			types[] = {INT8OID, TEXTOID, INT8OID, BOOLOID, BOOLOID, BOOLOID, TEXTOID};
	Datum		values[7];
	char		nulls[] = "       ";
	bool		isnull;

	begin_worker_transaction();
	store_collections(run);
	stage_prepare(stage);
	values[0] = Int64GetDatum(run->run);
	values[1] = CStringGetTextDatum(connection->name);
	values[2] = Int64GetDatum(run->rows_staged);
	values[3] = BoolGetDatum(content.repeats);
	values[4] = BoolGetDatum(content.without_role);
	values[5] = BoolGetDatum(content.several_roles);
	values[6] = digest == NULL ? (Datum) 0 : CStringGetTextDatum(digest);
	nulls[6] = digest == NULL ? 'n' : ' ';
	execute_statement("SELECT minga_roster_internal.settle_stage($1, $2, $3, $4, $5, $6, $7)",
					  lengthof(types), types, values, nulls);
	run->rows_staged = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	execute_statement("SELECT minga_roster_internal.settle_read($1)", 1, types, values, NULL);
	execute_statement("SELECT minga_roster_internal.forget_stale_facts($2)", 2, types, values, NULL);
	store_progress(run, true);
	if (run->kind == RUN_PREVIEW || run->kind == RUN_SYNC)
		set_phase(run, "plan");
	commit_worker_transaction();
}

/*
 * What the hour allows: how many requests at a time, and until when.  An evening's
 * run ends with its evening.  And what a plan will make of most rows.
 */
static void
limit_fetch(Fetch *fetch)
{
	RosterClient *client = fetch->client;
	MemoryContext owner = CurrentMemoryContext;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(fetch->run->run)};
	int64		seconds_left = 0;
	TimestampTz evening_ends;
	char	   *evening;
	bool		isnull;

	begin_worker_transaction();
	execute_statement("SELECT requests, seconds_left, evening, likely_outcome FROM "
					  "minga_roster_internal.fetch_limits($1)", 1, types, values, NULL);
	fetch->requests = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	evening = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3);
	fetch->likely_outcome = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4);
	if (fetch->likely_outcome != NULL)
		fetch->likely_outcome = MemoryContextStrdup(owner, fetch->likely_outcome);
	if (evening != NULL)
	{
		evening = MemoryContextStrdup(owner, evening);
		seconds_left = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	}
	commit_worker_transaction();

	if (evening == NULL)
		return;
	evening_ends = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), seconds_left * 1000);
	if (evening_ends < client->requester.until)
	{
		client->requester.until = evening_ends;
		client->requester.until_fault = fault_make(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
												   "the evening ended before the roster was read",
												   psprintf("The evening is %s, and the SIS is not asked outside of "
															"it.", evening),
												   "No people were changed, and the next evening starts over. If it "
												   "happens again, make the evening longer with "
												   "roster_configure(sync_at => ..., window_end => ...), or ask the "
												   "SIS vendor why its lists take so long.");
	}
}

/* The stage and what is on record of the run are as they were before it read anything. */
static void
begin_anew(RosterClient *client, RosterRun *run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};

	client_forget_revision(client);
	forget_collections(run);
	run->pages = 0;
	run->rows_staged = 0;
	run->rows_expected = -1;
	begin_worker_transaction();
	execute_statement("DELETE FROM minga_roster.collections WHERE run = $1", 1, types, values, NULL);
	store_progress(run, true);
	commit_worker_transaction();
}

/* Reads school and collections; false where what the key may see changed during it. */
static bool
read_roster(Fetch *fetch, bool *begun)
{
	RosterClient *client = fetch->client;
	RosterRun  *run = fetch->run;
	RosterConnection *connection = client->connection;
	Stage	   *stage = stage_open(connection, fetch->likely_outcome, run->kind == RUN_DIAGNOSE);
	SchoolList	schools;
	RosterFault *fault;
	bool		filter_ignored;

	fault = read_schools(client, run, stage, &schools);
	if (fault == NULL)
		fault = school_fault(&schools);
	do
	{
		filter_ignored = false;
		if (fault == NULL && !client->revision_changed)
		{
			List	   *collections;
			RosterNeeds *needs;

			if (!schools.is_open)
				begin_worker_steps();
			schools.is_open = false;
			if (!*begun)
				begin_read(run);
			*begun = true;
			collections = load_collections(connection, run);
			needs = load_needs(run);
			commit_worker_transaction();
			fault = read_collections(client, run, stage, needs, collections, fetch->requests, &filter_ignored);
		}
	} while (filter_ignored);
	if (schools.is_open)
		commit_worker_transaction();
	if (client->revision_changed)
		return false;
	if (fault != NULL)
		fault_raise(fault);
	settle(connection, run, stage);
	return true;
}

/*
 * What a fetch begins with, in the open transaction of the caller's steps; lives,
 * with what the fetch needs, in the current memory context.
 */
Fetch *
fetch_begin(RosterConnection *connection, RosterRun *run)
{
	Fetch	   *fetch = palloc0(sizeof(Fetch));
	MemoryContext caller = CurrentMemoryContext;

	fetch->run = run;
	fetch->context = AllocSetContextCreate(caller, "minga_roster fetch", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(fetch->context);
	fetch->client = client_open(connection, run);
	set_phase(run, "fetch");
	load_facts(&fetch->client->facts);
	limit_fetch(fetch);
	authorize_early(&fetch->client->authorization);
	MemoryContextSwitchTo(caller);
	return fetch;
}

/*
 * Fetches the roster of the connection into its stage, with a row of
 * collections for each that was read.  Raises what stops the run; pages staged
 * before stay in the stage.  Not inside a transaction.
 */
void
fetch_roster(Fetch *fetch)
{
	RosterRun  *run = fetch->run;
	MemoryContext caller = CurrentMemoryContext;
	int			reads = 1;
	bool		begun = false;

	for (;;)
	{
		MemoryContext reading = AllocSetContextCreate(fetch->context, "minga_roster reading", ALLOCSET_DEFAULT_SIZES);
		bool		complete;

		MemoryContextSwitchTo(reading);
		complete = read_roster(fetch, &begun);
		MemoryContextSwitchTo(fetch->context);
		MemoryContextDelete(reading);
		if (complete)
			break;
		if (reads++ == READS_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("what the SIS shares with connection \"%s\" kept changing while it was "
							"read", run->connection),
					 errdetail("The revision in the header x-perm-rev changed in each of %d readings.", READS_MAX),
					 errhint("Someone may be changing what is shared. Start the run again later; if it happens again, "
							 "ask the SIS vendor.")));
		begin_anew(fetch->client, run);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(fetch->context);
}
