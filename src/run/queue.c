/*
 * queue.c
 *	  The queue of runs, which is rows of runs.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"

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

/*
 * Whether a run of the kind could read and write people now, and which relation
 * they are in.  In the open transaction, or in one of its own.
 */
PeopleState
read_people_state(const char *connection, RunKind kind, Oid *people)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(connection)};
	bool		own_transaction;
	bool		isnull;
	char	   *state;
	PeopleState found = PEOPLE_FREE;

	*people = InvalidOid;
	if (!run_kind_writes_people(kind))
		return PEOPLE_FREE;
	own_transaction = begin_worker_transaction_if_none();
	execute_statement("SELECT people, state FROM minga_roster_internal.people_state($1)", 1, types, values, NULL);
	if (SPI_processed > 0)
	{
		*people = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		state = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
		found = strcmp(state, "waited") == 0 ? PEOPLE_WAITED
			: strcmp(state, "locked") == 0 ? PEOPLE_LOCKED : PEOPLE_FREE;
	}
	if (own_transaction)
		commit_worker_transaction();
	return found;
}

/*
 * Makes a queued run ours, as one of the steps of the open transaction; its run
 * lock is held afterwards.  Not one whose people another run waits for, and one
 * whose people are locked, or given up, only as the last choice.
 */
bool
claim_queued_run(const QueuedRun *queued, const List *given_up, bool last_choice, Oid *people)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(queued->run)};
	PeopleState state;
	bool		isnull;
	bool		claimed = false;

	if (!run_lock_take(LOCK_RUN, queued->run))
		return false;
	begin_worker_transaction();
	state = read_people_state(queued->connection, queued->kind, people);
	if (last_choice ? state != PEOPLE_WAITED : state == PEOPLE_FREE && !list_member_oid(given_up, *people))
	{
		execute_statement("SELECT minga_roster_internal.claim_run($1)", 1, types, values, NULL);
		claimed = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	commit_worker_transaction();
	if (!claimed)
		run_lock_release(LOCK_RUN, queued->run);
	return claimed;
}

/* The same where the transaction in which a run was made ours failed.  In a transaction of its own. */
void
claim_again(int64 run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run)};

	begin_worker_transaction();
	execute_statement("SELECT minga_roster_internal.claim_run($1)", 1, types, values, NULL);
	commit_worker_transaction();
}
