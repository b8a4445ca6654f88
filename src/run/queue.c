/*
 * queue.c
 *	  The queue of runs, which is rows of runs.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/pg_list.h"

#include "base/run_row.h"
#include "base/transaction.h"
#include "run/queue.h"
#include "run/run_locks.h"

/* The queue as it is now, palloc'd in the current memory context. */
List *
read_queue(void)
{
	MemoryContext owner = CurrentMemoryContext;
	List	   *queue = NIL;

	begin_worker_transaction();
	execute_statement("SELECT run, of_run, connection_number, kind, connection, site FROM "
					  "minga_roster_internal.queued_runs()", 0, NULL, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		MemoryContext transaction = MemoryContextSwitchTo(owner);
		QueuedRun  *queued = palloc0(sizeof(QueuedRun));
		bool		isnull;

		queued->run = DatumGetInt64(SPI_getbinval(tuple, tupdesc, 1, &isnull));
		queued->of_run = DatumGetInt64(SPI_getbinval(tuple, tupdesc, 2, &isnull));
		queued->connection_number = DatumGetInt32(SPI_getbinval(tuple, tupdesc, 3, &isnull));
		queued->connection = pstrdup(SPI_getvalue(tuple, tupdesc, 5));
		queued->site = pstrdup(SPI_getvalue(tuple, tupdesc, 6));
		if (run_kind_of(SPI_getvalue(tuple, tupdesc, 4), &queued->kind))
			queue = lappend(queue, queued);
		MemoryContextSwitchTo(transaction);
	}
	commit_worker_transaction();
	return queue;
}

/* Makes a queued run ours; its run lock is held afterwards. */
bool
claim_queued_run(int64 run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run)};
	bool		isnull;
	bool		claimed;

	if (!run_lock_take(LOCK_RUN, run))
		return false;
	begin_worker_transaction();
	execute_statement("SELECT minga_roster_internal.claim_run($1)", 1, types, values, NULL);
	claimed = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	commit_worker_transaction();
	if (!claimed)
		run_lock_release(LOCK_RUN, run);
	return claimed;
}
