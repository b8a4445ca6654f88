/*
 * launch.c
 *	  The SQL functions that have a run done: they hand an order to a background
 *	  worker and, most of them, wait for the run's row to be closed.
 *
 * What they must survive:
 *	- a caller's transaction: waiting inside one would hold its locks and its
 *	  snapshot for the length of a fetch, so it is refused; a transaction id that
 *	  the draw of a run number assigned does not count, and a statement may call
 *	  for one connection after the other;
 *	- no worker to be had: the caller queues the run itself;
 *	- a worker that ends before the run is on record, or without closing it;
 *	- a cancel or statement_timeout of the caller: passed on to the run;
 *	- a run that waits for a lock of the very session that waits for the run, or
 *	  for somebody who waits for that lock (DROP EXTENSION), which the deadlock
 *	  detector cannot see.
 */
#include "postgres.h"

#include <signal.h>

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "worker.h"

#define POLL_MS 100
#define BLOCK_CHECK_MS 1000		/* does our own session block the run? */
#define NOTICE_MS 5000			/* progress, where the phase has not changed */
#define GONE_MS 1000			/* so long after its process a run may stay open */
#define RELAUNCH_MS 10000		/* a queued run gets another worker to look at it */

/* What the wait looks at in the run's row. */
typedef struct RunView
{
	bool		recorded;
	bool		queued;
	bool		finished;
	bool		succeeded;
	int			pid;			/* 0 unless running */
	char		phase[16];
	int64		pages;
	int64		rows_staged;
} RunView;

PG_FUNCTION_INFO_V1(roster_test_connection);
PG_FUNCTION_INFO_V1(roster_diagnose);
PG_FUNCTION_INFO_V1(roster_fetch);
PG_FUNCTION_INFO_V1(roster_preview);
PG_FUNCTION_INFO_V1(roster_sync);
PG_FUNCTION_INFO_V1(roster_approve);
PG_FUNCTION_INFO_V1(roster_apply);
PG_FUNCTION_INFO_V1(roster_undo);
PG_FUNCTION_INFO_V1(roster_start);
PG_FUNCTION_INFO_V1(roster_run_due);

/* The id that drawing a run number assigned to the current transaction. */
static TransactionId drawn_transaction_id = InvalidTransactionId;

static void
refuse_on_standby(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", function),
				 errdetail("This server is a standby."),
				 errhint("Call it on the primary server.")));
}

static void
refuse_in_transaction(const char *function)
{
	TransactionId current = GetTopTransactionIdIfAny();

	if (IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block", function),
				 errdetail("It waits for a student information system, and the transaction would hold its locks meanwhile."),
				 errhint("Call it on its own, or use roster_start, which does not wait.")));
	if (TransactionIdIsValid(current) && !TransactionIdEquals(current, drawn_transaction_id))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run in a transaction that has written", function),
				 errdetail("It waits for a student information system, and the transaction would hold its locks meanwhile."),
				 errhint("Call it on its own, or use roster_start, which does not wait.")));
}

/*
 * Executes a query with a snapshot that sees what workers have committed,
 * whatever the isolation level.  SPI is connected.
 */
static void
look(const char *query, int64 run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run)};
	SPIPlanPtr	plan = SPI_prepare(query, 1, types);

	SPI_execute_snapshot(plan, values, NULL, GetLatestSnapshot(), InvalidSnapshot, true, false, 0);
}

static char *
look_text(const char *query, int64 run)
{
	look(query, run);
	return SPI_processed == 0 ? NULL : SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/* Remembers that the transaction's id, if it has one now and had none before, is our doing. */
static void
remember_transaction_id(TransactionId before)
{
	if (!TransactionIdIsValid(before))
		drawn_transaction_id = GetTopTransactionIdIfAny();
}

static int64
draw_run_number(void)
{
	TransactionId before = GetTopTransactionIdIfAny();
	Oid			sequence = get_relname_relid("runs_run_seq", get_namespace_oid("minga_roster", false));
	int64		run = DatumGetInt64(DirectFunctionCall1(nextval_oid, ObjectIdGetDatum(sequence)));

	remember_transaction_id(before);
	return run;
}

/* The order for a run of a connection that is known; throws 42704 otherwise. */
static void
make_order(WorkerOrder *order, RunKind kind, const char *connection, int64 of_run)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(connection)};

	memset(order, 0, sizeof(*order));
	SPI_connect();
	SPI_execute_with_args("SELECT connection FROM minga_roster.known_connection($1)", 1, types, values, NULL, true, 1);
	strlcpy(order->connection, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), sizeof(order->connection));
	SPI_finish();
	order->kind = kind;
	order->of_run = of_run;
	order->database = MyDatabaseId;
	order->requested_by = GetOuterUserId();
	order->run = draw_run_number();
}

/* False where no worker can be registered.  The handle is palloc'd. */
bool
launch_worker(const WorkerOrder *order, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "minga_roster", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "roster_worker_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "minga_roster worker", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "minga_roster", sizeof(worker.bgw_type));
	memcpy(worker.bgw_extra, order, sizeof(*order));
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/* No worker could be registered: the caller's transaction puts the run in the queue. */
static void
queue_run(const WorkerOrder *order)
{
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, INT8OID, NAMEOID};
	NameData	requested_by;
	Datum		values[5];
	char		nulls[] = "     ";
	TransactionId before = GetTopTransactionIdIfAny();

	SPI_connect();
	namestrcpy(&requested_by, GetUserNameFromId(order->requested_by, false));
	values[0] = Int64GetDatum(order->run);
	values[1] = CStringGetTextDatum(order->connection);
	values[2] = CStringGetTextDatum(run_kind_name(order->kind));
	values[3] = Int64GetDatum(order->of_run);
	if (order->of_run == 0)
		nulls[3] = 'n';
	values[4] = NameGetDatum(&requested_by);
	SPI_execute_with_args("SELECT minga_roster.insert_run($1, $2, $3, $4, 'queued', $5)", 5, types, values, nulls, false, 0);
	SPI_finish();
	remember_transaction_id(before);
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("run " INT64_FORMAT " is queued, as no background worker could be registered", order->run),
			 errdetail("All of max_worker_processes are in use."),
			 errhint("It starts when another run ends or the minute's roster_run_due comes.  The DBA may need to raise max_worker_processes.")));
}

static void
view_run(int64 run, RunView *view)
{
	char	   *state;
	char	   *value;

	memset(view, 0, sizeof(*view));
	SPI_connect();
	look("SELECT state, coalesce(pid, 0), coalesce(phase, ''), pages, rows_staged FROM minga_roster.runs WHERE run = $1", run);
	if (SPI_processed > 0)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;

		state = SPI_getvalue(tuple, tupdesc, 1);
		view->recorded = true;
		view->queued = strcmp(state, "queued") == 0;
		view->succeeded = strcmp(state, "succeeded") == 0;
		view->finished = !view->queued && strcmp(state, "running") != 0;
		view->pid = atoi(SPI_getvalue(tuple, tupdesc, 2));
		value = SPI_getvalue(tuple, tupdesc, 3);
		strlcpy(view->phase, value, sizeof(view->phase));
		view->pages = atoll(SPI_getvalue(tuple, tupdesc, 4));
		view->rows_staged = atoll(SPI_getvalue(tuple, tupdesc, 5));
	}
	SPI_finish();
}

/*
 * Whether the process waits for a lock that this session holds, or for somebody
 * who in turn does.  *through is who does, where it is not the
 * process itself, else 0.
 */
static bool
blocked_by_us(int pid, int *through)
{
	List	   *waiting = list_make1_int(pid);

	*through = 0;
	/* The list grows while it is walked. */
	for (int i = 0; i < list_length(waiting); i++)
	{
		ArrayType  *blockers = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(list_nth_int(waiting, i))));
		int			nblockers = ArrayGetNItems(ARR_NDIM(blockers), ARR_DIMS(blockers));
		int32	   *pids = (int32 *) ARR_DATA_PTR(blockers);

		for (int j = 0; j < nblockers; j++)
		{
			if (pids[j] == MyProcPid)
			{
				*through = i == 0 ? 0 : list_nth_int(waiting, i);
				return true;
			}
			/* 0 is a prepared transaction. */
			if (pids[j] != 0)
				waiting = list_append_unique_int(waiting, pids[j]);
		}
	}
	return false;
}

static void
notice_progress(int64 run, const RunView *view)
{
	if (view->queued)
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT " is queued, as other runs are working", run)));
	else if (view->pages > 0)
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT ": %s, " INT64_FORMAT " pages, " INT64_FORMAT " rows",
						run, view->phase, view->pages, view->rows_staged)));
	else
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT ": %s", run, view->phase)));
}

static bool
due(TimestampTz *last, TimestampTz now, int interval_ms)
{
	if (!TimestampDifferenceExceeds(*last, now, interval_ms))
		return false;
	*last = now;
	return true;
}

/*
 * Waits until the run's row is closed.  Throws when the worker ended without a
 * row, when our own session blocks the run, and on an interrupt.
 */
static void
wait_for_run(const WorkerOrder *order, BackgroundWorkerHandle *handle, RunView *view)
{
	char		shown_phase[16] = "";
	bool		shown_queued = false;
	TimestampTz noticed = GetCurrentTimestamp();
	TimestampTz block_checked = noticed;
	TimestampTz launched = noticed;
	TimestampTz seen_alive = noticed;
	pid_t		worker_pid;
	int			through;

	for (;;)
	{
		BgwHandleStatus status = GetBackgroundWorkerPid(handle, &worker_pid);
		bool		worker_gone = status == BGWH_STOPPED;
		TimestampTz now = GetCurrentTimestamp();

		view_run(order->run, view);
		if (view->finished)
			return;
		if (worker_gone && !view->recorded)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the worker of run " INT64_FORMAT " ended before the run was on record", order->run),
					 errhint("The server's log says why: see it with the DBA.")));
		/* A worker that could not even close its run; the next one finds it dead. */
		if (view->pid == 0 || BackendPidGetProc(view->pid) != NULL)
			seen_alive = now;
		else if (TimestampDifferenceExceeds(seen_alive, now, GONE_MS))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the worker of run " INT64_FORMAT " ended without closing it", order->run),
					 errhint("The server's log says why: see it with the DBA.")));
		if (view->queued)
		{
			if (!shown_queued)
				notice_progress(order->run, view);
			shown_queued = true;
			/* Should whoever was to work the queue be gone, another looks at it. */
			if (due(&launched, now, RELAUNCH_MS))
				(void) launch_worker(order, &handle);
		}
		else if (view->recorded && view->phase[0] != '\0' &&
				 (strcmp(view->phase, shown_phase) != 0 || due(&noticed, now, NOTICE_MS)))
		{
			noticed = now;
			strlcpy(shown_phase, view->phase, sizeof(shown_phase));
			notice_progress(order->run, view);
		}
		/* Before the run is on record, and while it is queued, it is for the worker that was started last. */
		if (view->pid != 0)
			worker_pid = view->pid;
		if ((view->pid != 0 || status == BGWH_STARTED) && due(&block_checked, now, BLOCK_CHECK_MS) && blocked_by_us(worker_pid, &through))
		{
			int			pid = view->pid;

			/* Of the work that follows a run nobody waits for the end. */
			view_run(order->run, view);
			if (view->finished)
				return;
			if (view->pid != pid)
				continue;
			/* It waits, so it is still this run; and our lock may be gone as soon as we raise. */
			kill(worker_pid, SIGINT);
			ereport(ERROR,
					(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
					 errmsg("run " INT64_FORMAT " waits for a lock of the session that waits for it", order->run),
					 through == 0 ? errdetail("The worker, process %d, is blocked by this session, process %d.", worker_pid, MyProcPid)
					 : errdetail("The worker, process %d, waits for process %d, which is blocked by this session, process %d.",
								 worker_pid, through, MyProcPid),
					 errhint("Let the lock go first, or use roster_start, which does not wait.")));
		}

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * The wait ended by an error: the run is not wanted any more.  A worker that
 * calls roster_cancel does it, since this transaction is about to be rolled
 * back and the run may not be on record yet; where none is to be had, a running
 * run is interrupted directly.
 */
static void
cancel_run(const WorkerOrder *order, const RunView *view)
{
	WorkerOrder cancel = *order;
	BackgroundWorkerHandle *ignored;

	cancel.kind = RUN_CANCEL;
	if (!launch_worker(&cancel, &ignored) && view->pid != 0)
		kill(view->pid, SIGINT);
}

/* The error of a failed or cancelled run, as the worker met it. */
static void
raise_run_error(const WorkerOrder *order)
{
	char	   *sqlstate;
	char	   *message;
	char	   *detail;
	char	   *hint;

	SPI_connect();
	look("SELECT coalesce(sqlstate, 'XX000'), coalesce(error, state), detail, hint FROM minga_roster.runs WHERE run = $1", order->run);
	sqlstate = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	message = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	detail = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3);
	hint = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4);
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4])),
			 errmsg("run " INT64_FORMAT " of connection \"%s\": %s", order->run, order->connection, message),
			 detail != NULL ? errdetail("%s", detail) : 0,
			 hint != NULL ? errhint("%s", hint) : 0));
}

/*
 * Has the run done and waits for it.  Returns false when it could only be
 * queued; throws the run's error when it did not succeed.
 */
static bool
run_and_wait(const WorkerOrder *order)
{
	BackgroundWorkerHandle *handle;
	RunView		view = {0};

	if (!launch_worker(order, &handle))
	{
		if (order->kind == RUN_TEST)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("no background worker is free for a connection test"),
					 errdetail("All of max_worker_processes are in use."),
					 errhint("Try again later, or let the DBA raise max_worker_processes.")));
		queue_run(order);
		return false;
	}
	PG_TRY();
	{
		wait_for_run(order, handle, &view);
	}
	PG_CATCH();
	{
		cancel_run(order, &view);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!view.succeeded)
		raise_run_error(order);
	return true;
}

/* The run's row as a composite datum in the caller's memory context. */
static Datum
run_row(int64 run)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	bool		isnull;
	Datum		row;

	SPI_connect();
	/* A queued row is this transaction's own, any other one a worker's. */
	CommandCounterIncrement();
	look("SELECT r FROM minga_roster.runs AS r WHERE run = $1", run);
	row = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	spi = MemoryContextSwitchTo(caller);
	row = datumCopy(row, false, -1);
	MemoryContextSwitchTo(spi);
	SPI_finish();
	return row;
}

/* Fills a materialized result with the rows of a query whose $1 is the run. */
static void
return_rows(FunctionCallInfo fcinfo, const char *query, int64 run)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	look(query, run);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
}

/* The connection that the caller names first.  NULL is no name, and no reason to do nothing in silence. */
static char *
connection_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("no connection is named"),
				 errhint("SELECT connection FROM minga_roster.connections WHERE retired_at IS NULL lists those there are.")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

/* Starts a run of the connection that is the first argument, waits for its end and returns its number. */
static int64
run_to_end(FunctionCallInfo fcinfo, RunKind kind, const char *function)
{
	WorkerOrder order;

	refuse_on_standby(function);
	refuse_in_transaction(function);
	make_order(&order, kind, connection_argument(fcinfo), 0);
	run_and_wait(&order);
	return order.run;
}

Datum
roster_fetch(PG_FUNCTION_ARGS)
{
	return run_row(run_to_end(fcinfo, RUN_FETCH, "roster_fetch"));
}

Datum
roster_sync(PG_FUNCTION_ARGS)
{
	return run_row(run_to_end(fcinfo, RUN_SYNC, "roster_sync"));
}

Datum
roster_preview(PG_FUNCTION_ARGS)
{
	return_rows(fcinfo, "SELECT * FROM minga_roster.changes WHERE run = $1 ORDER BY change",
				run_to_end(fcinfo, RUN_PREVIEW, "roster_preview"));
	return (Datum) 0;
}

Datum
roster_test_connection(PG_FUNCTION_ARGS)
{
	return_rows(fcinfo, "SELECT step, ok, detail, hint, elapsed FROM minga_roster.run_steps WHERE run = $1 ORDER BY position",
				run_to_end(fcinfo, RUN_TEST, "roster_test_connection"));
	return (Datum) 0;
}

Datum
roster_diagnose(PG_FUNCTION_ARGS)
{
	return_rows(fcinfo, "SELECT finding, value, ok, detail, hint FROM minga_roster.findings WHERE run = $1 ORDER BY position",
				run_to_end(fcinfo, RUN_DIAGNOSE, "roster_diagnose"));
	return (Datum) 0;
}

/* A run that does something to another one; it belongs to that one's connection. */
static Datum
run_of_run(FunctionCallInfo fcinfo, RunKind kind, const char *function)
{
	int64		of_run;
	WorkerOrder order;
	MemoryContext caller = CurrentMemoryContext;
	char	   *connection;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("no run is named"),
				 errhint("SELECT run, connection, kind, state FROM minga_roster.runs ORDER BY run DESC lists them.")));
	of_run = PG_GETARG_INT64(0);
	refuse_on_standby(function);
	refuse_in_transaction(function);
	SPI_connect();
	connection = MemoryContextStrdup(caller, look_text("SELECT connection FROM minga_roster.known_run($1)", of_run));
	SPI_finish();
	make_order(&order, kind, connection, of_run);
	run_and_wait(&order);
	return run_row(order.run);
}

Datum
roster_approve(PG_FUNCTION_ARGS)
{
	return run_of_run(fcinfo, RUN_APPROVE, "roster_approve");
}

Datum
roster_apply(PG_FUNCTION_ARGS)
{
	return run_of_run(fcinfo, RUN_APPLY, "roster_apply");
}

Datum
roster_undo(PG_FUNCTION_ARGS)
{
	return run_of_run(fcinfo, RUN_UNDO, "roster_undo");
}

Datum
roster_start(PG_FUNCTION_ARGS)
{
	char	   *kind_name = PG_ARGISNULL(1) ? "NULL" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	RunKind		kind;
	WorkerOrder order;
	BackgroundWorkerHandle *handle;

	refuse_on_standby("roster_start");
	if (!run_kind_of(kind_name, &kind) || (kind != RUN_DIAGNOSE && kind != RUN_FETCH && kind != RUN_PREVIEW && kind != RUN_SYNC))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid kind of run \"%s\"", kind_name),
				 errdetail("The kinds that can be started are \"diagnose\", \"fetch\", \"preview\" and \"sync\"."),
				 errhint("A connection is tested by roster_test_connection, held archives are applied by roster_approve.")));
	make_order(&order, kind, connection_argument(fcinfo), 0);
	if (!launch_worker(&order, &handle))
		queue_run(&order);
	PG_RETURN_INT64(order.run);
}

Datum
roster_run_due(PG_FUNCTION_ARGS)
{
	WorkerOrder order;
	BackgroundWorkerHandle *handle;

	refuse_on_standby("roster_run_due");
	memset(&order, 0, sizeof(order));
	order.kind = RUN_DUTY;
	order.database = MyDatabaseId;
	order.requested_by = GetOuterUserId();
	if (!launch_worker(&order, &handle))
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no background worker could be registered for what is due"),
				 errdetail("All of max_worker_processes are in use."),
				 errhint("The next minute's call tries again.  The DBA may need to raise max_worker_processes.")));
	PG_RETURN_VOID();
}
