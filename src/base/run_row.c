/*
 * run_row.c
 *	  The row of a run, and the short transactions in which a worker writes.
 *
 * What it must survive: a cancel while a run is being closed (it has to be closed
 * all the same), being called inside a transaction as well as outside of one, and
 * DROP EXTENSION between two of its transactions.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "run/worker.h"

static MemoryContext context_outside = NULL;

/*
 * Whether somebody who holds the extension's lock may drop it: any role can take it, by ALTER FUNCTION ... DEPENDS ON
 * EXTENSION.
 */
static bool
may_be_dropped(const LOCKTAG *tag)
{
	LockData   *data = GetLockStatusData();

	for (int i = 0; i < data->nelements; i++)
	{
		PGPROC	   *holder;

		if (memcmp(&data->locks[i].locktag, tag, sizeof(LOCKTAG)) != 0 ||
			(data->locks[i].holdMask & LOCKBIT_ON(AccessExclusiveLock)) == 0)
			continue;
		holder = BackendPidGetProc(data->locks[i].pid);
		if (holder != NULL && superuser_arg(holder->roleId))
			return true;
	}
	return false;
}

/*
 * Locks the extension until the end of the transaction, before anything of it:
 * DROP EXTENSION waits for that lock first, and holds no table while a run
 * wants it.  Waits for nobody who may not drop it.  False where the extension is
 * not there.
 */
static bool
lock_extension(void)
{
	Oid			extension = get_extension_oid("minga_roster", true);
	LOCKTAG		tag;

	if (!OidIsValid(extension))
		return false;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
	if (LockAcquire(&tag, AccessShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL && may_be_dropped(&tag))
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	AcceptInvalidationMessages();
	/* It may have been dropped while the lock was waited for. */
	return get_extension_oid("minga_roster", true) == extension;
}

/* The same as begin_worker_transaction, unless the extension is not there: false, and no transaction is open. */
bool
try_begin_worker_transaction(void)
{
	context_outside = CurrentMemoryContext;
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (!lock_extension())
	{
		CommitTransactionCommand();
		MemoryContextSwitchTo(context_outside);
		return false;
	}
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

/*
 * A short transaction with a snapshot and SPI; the memory context current
 * before is current again after commit_worker_transaction.
 */
void
begin_worker_transaction(void)
{
	if (!try_begin_worker_transaction())
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"minga_roster\" was dropped meanwhile"),
				 errdetail("What was not committed is undone, and there is no row left to say so."),
				 errhint("Nothing more is to be done.  Where the extension is wanted, the DBA creates it again.")));
}

/* The same where none is open; says whether it opened one. */
bool
begin_worker_transaction_if_none(void)
{
	if (IsTransactionState())
		return false;
	begin_worker_transaction();
	return true;
}

void
commit_worker_transaction(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	MemoryContextSwitchTo(context_outside);
}

/* Undoes what the open transaction did instead. */
void
abort_worker_transaction(void)
{
	AbortCurrentTransaction();
	pgstat_report_stat(false);
	MemoryContextSwitchTo(context_outside);
}

/* Executes one statement inside the open transaction. */
void
execute(const char *statement, int nargs, Oid *types, Datum *values, const char *nulls)
{
	if (SPI_execute_with_args(statement, nargs, types, values, nulls, false, 0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not execute a statement of minga_roster"),
				 errdetail("The statement was: %s.", statement)));
}

/*
 * Writes the figures gathered so far to the run's row, at most once a second
 * unless forced.  In the open transaction, or in one of its own.
 */
void
store_progress(RosterRun *run, bool force)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		own_transaction;
	Oid			types[] = {INT8OID, INT4OID, INT8OID, INT8OID, INT4OID, INT4OID, INT8OID};
	Datum		values[7];
	char		nulls[] = "       ";

	if (!force && !TimestampDifferenceExceeds(run->progress_at, now, 1000))
		return;
	run->progress_at = now;
	own_transaction = begin_worker_transaction_if_none();
	values[0] = Int64GetDatum(run->run);
	values[1] = Int32GetDatum(run->pages);
	values[2] = Int64GetDatum(run->rows_staged);
	values[3] = Int64GetDatum(run->rows_expected);
	if (run->rows_expected < 0)
		nulls[3] = 'n';
	values[4] = Int32GetDatum(run->requests);
	values[5] = Int32GetDatum(run->retries);
	values[6] = Int64GetDatum(run->bytes);
	execute("UPDATE minga_roster.runs SET pages = $2, rows_staged = $3, rows_expected = $4, requests = $5, retries = $6, bytes = $7 WHERE run = $1",
			7, types, values, nulls);
	if (own_transaction)
		commit_worker_transaction();
}

/* Names the phase in the run's row and in pg_stat_activity. */
void
set_phase(RosterRun *run, const char *phase)
{
	bool		own_transaction = begin_worker_transaction_if_none();
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(run->run), CStringGetTextDatum(phase)};
	char		activity[64];

	execute("UPDATE minga_roster.runs SET phase = $2 WHERE run = $1", 2, types, values, NULL);
	if (own_transaction)
		commit_worker_transaction();
	snprintf(activity, sizeof(activity), "minga_roster: run " INT64_FORMAT ", %s", run->run, phase);
	pgstat_report_activity(STATE_RUNNING, activity);
}

/*
 * Closes the run's row.  In the open transaction, or in one of its own that a
 * cancel does not interrupt.
 */
void
close_run(int64 run, const char *state, const char *sqlstate, const char *error, const char *detail, const char *hint)
{
	bool		own_transaction;
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	const char *texts[] = {NULL, state, sqlstate, error, detail, hint};
	Datum		values[6];
	char		nulls[] = "      ";

	HOLD_CANCEL_INTERRUPTS();
	own_transaction = begin_worker_transaction_if_none();
	values[0] = Int64GetDatum(run);
	for (int i = 1; i < 6; i++)
	{
		if (texts[i] == NULL)
			nulls[i] = 'n';
		else
			values[i] = CStringGetTextDatum(texts[i]);
	}
	execute("SELECT minga_roster_internal.close_run($1, $2, $3, $4, $5, $6)", 6, types, values, nulls);
	if (own_transaction)
		commit_worker_transaction();
	RESUME_CANCEL_INTERRUPTS();
}

/* Whether a row of that run is there; a caller in need puts a run in the queue itself. */
bool
run_is_recorded(int64 run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run)};
	bool		found;

	begin_worker_transaction();
	execute("SELECT FROM minga_roster.runs WHERE run = $1", 1, types, values, NULL);
	found = SPI_processed > 0;
	commit_worker_transaction();
	return found;
}

void
insert_run(const WorkerOrder *order, const char *state)
{
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, INT8OID, TEXTOID, NAMEOID};
	Datum		values[6];
	char		nulls[] = "      ";
	NameData	requested_by;
	char	   *role;

	begin_worker_transaction();
	role = GetUserNameFromId(order->requested_by, true);
	namestrcpy(&requested_by, role == NULL ? "a dropped role" : role);
	values[0] = Int64GetDatum(order->run);
	values[1] = CStringGetTextDatum(order->connection);
	values[2] = CStringGetTextDatum(run_kind_name(order->kind));
	values[3] = Int64GetDatum(order->of_run);
	if (order->of_run == 0)
		nulls[3] = 'n';
	values[4] = CStringGetTextDatum(state);
	values[5] = NameGetDatum(&requested_by);
	execute("SELECT minga_roster_internal.insert_run($1, $2, $3, $4, $5, $6)", 6, types, values, nulls);
	commit_worker_transaction();
}
