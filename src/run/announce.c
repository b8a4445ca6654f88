/*
 * announce.c
 *	  Tells those who LISTEN on channel minga_roster that a run ended.
 *
 * A run's end is noted by the statement that closes it, and announced once that
 * is committed, in a transaction of its own: a full queue of notifications, which
 * any role can bring about that listens and does not read, must keep no run from
 * being closed.  Where the closing was rolled back, the run has not ended and is
 * passed over.  Ends of many short runs are announced together: a worker that
 * takes the next run announces while that one waits for the SIS.
 *
 * Only a worker announces.  What it must survive: any error of the announcement,
 * which is logged.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/settings.h"
#include "base/transaction.h"
#include "run/announce.h"
#include "run/stop.h"

ROSTER_FUNCTION(roster_note_end);

/* So many are kept; after a long downtime each connection may have missed evenings. */
#define NOTED_MAX 100000

static bool announces = false;
static int64 *noted = NULL;
static int	nnoted = 0;
static int	noted_room = 0;
static TimestampTz noted_since;

/* So long the first of them waits for others, while runs follow each other. */
#define ANNOUNCE_MS 500

/* From here on this process announces what it closes. */
void
announce_ends(void)
{
	announces = true;
}

/* note_end(run): that the current transaction closes the run */
Datum
roster_note_end(PG_FUNCTION_ARGS)
{
	if (!announces || roster_notify == NOTIFY_OFF || nnoted == NOTED_MAX)
		PG_RETURN_VOID();
	if (nnoted == noted_room)
	{
		noted_room = Max(64, noted_room * 2);
		noted = noted == NULL ? MemoryContextAlloc(TopMemoryContext, noted_room * sizeof(int64))
			: repalloc(noted, noted_room * sizeof(int64));
	}
	if (nnoted == 0)
		noted_since = GetCurrentTimestamp();
	noted[nnoted++] = PG_GETARG_INT64(0);
	PG_RETURN_VOID();
}

/* In a transaction of its own. */
static void
notify(void)
{
	Oid			types[] = {INT8ARRAYOID, BOOLOID};
	Datum		values[2];
	Datum	   *runs;

	begin_worker_transaction();
	/* a crash may lose an announcement, so neither the disk nor a standby is waited for */
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	runs = palloc(nnoted * sizeof(Datum));
	for (int i = 0; i < nnoted; i++)
		runs[i] = Int64GetDatum(noted[i]);
	values[0] = PointerGetDatum(construct_array(runs, nnoted, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[1] = BoolGetDatum(roster_notify == NOTIFY_CONNECTION);
	execute_statement("SELECT pg_catalog.pg_notify('minga_roster', minga_roster_internal.end_of_run(r, $2)::text) "
					  "FROM minga_roster.runs r WHERE r.run = ANY ($1) AND r.finished_at IS NOT NULL ORDER BY r.run",
					  2, types, values, NULL);
	commit_worker_transaction();
}

/* Announces the runs that were noted.  Throws a cancel alone, after which they are still noted. */
static void
announce(void)
{
	MemoryContext outer = CurrentMemoryContext;

	PG_TRY();
	{
		notify();
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		MemoryContextSwitchTo(outer);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(outer);
	nnoted = 0;
}

/* The same when no run is being worked on: not in a transaction, and nothing breaks it off.  Throws nothing. */
void
announce_noted_ends(void)
{
	if (nnoted == 0)
		return;
	hold_stops();
	announce();
	catch_stops();
}

/* The same in the middle of a run, not in a transaction; throws a cancel. */
void
announce_earlier_ends(void)
{
	if (nnoted > 0)
		announce();
}

/*
 * The same while a run waits for the SIS, once the first end has waited for
 * others.  Returns when to be called again.
 */
TimestampTz
announce_old_ends(void)
{
	TimestampTz due_at = TimestampTzPlusMilliseconds(noted_since, ANNOUNCE_MS);

	if (nnoted == 0 || IsTransactionState())
		return DT_NOEND;
	if (GetCurrentTimestamp() < due_at)
		return due_at;
	announce();
	return DT_NOEND;
}
