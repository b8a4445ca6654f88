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
 *	- a cancel or statement_timeout of the caller: passed on to the run;
 *	- a caller who asks again and again: one run of a kind is queued at a time.
 */
#include "postgres.h"

#include <signal.h>

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/door.h"
#include "base/error.h"
#include "base/run_row.h"
#include "run/order.h"
#include "run/wait.h"

ROSTER_FUNCTION(roster_test_connection);
ROSTER_FUNCTION(roster_diagnose);
ROSTER_FUNCTION(roster_fetch);
ROSTER_FUNCTION(roster_preview);
ROSTER_FUNCTION(roster_sync);
ROSTER_FUNCTION(roster_approve);
ROSTER_FUNCTION(roster_apply);
ROSTER_FUNCTION(roster_undo);
ROSTER_FUNCTION(roster_send_test_mail);
ROSTER_FUNCTION(roster_start);
ROSTER_FUNCTION(roster_run_due);

/* The id that drawing a run number assigned to the current transaction. */
static TransactionId drawn_transaction_id = InvalidTransactionId;

static void
refuse_in_transaction(const char *function)
{
	TransactionId current = GetTopTransactionIdIfAny();

	if (IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block", function),
				 errdetail("It waits for a student information system, and the transaction would hold its locks all "
						   "that time."),
				 errhint("Call it on its own, or use roster_start, which does not wait.")));
	if (TransactionIdIsValid(current) && !TransactionIdEquals(current, drawn_transaction_id))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run in a transaction that has written", function),
				 errdetail("It waits for a student information system, and the transaction would hold its locks all "
						   "that time."),
				 errhint("Call it on its own, or use roster_start, which does not wait.")));
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

/* The order, yet without a number, for a run of a connection that is known; throws 42704 otherwise. */
static void
make_order(WorkerOrder *order, RunKind kind, const char *connection, int64 of_run)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(connection)};

	memset(order, 0, sizeof(*order));
	SPI_connect();
	SPI_execute_with_args("SELECT connection FROM "
						  "minga_roster_internal.known_connection($1)", 1, types, values, NULL, true, 1);
	strlcpy(order->connection, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1),
			sizeof(order->connection));
	SPI_finish();
	order->kind = kind;
	order->of_run = of_run;
	order->database = MyDatabaseId;
	order->requested_by = door_caller();
}

/*
 * The run that the order would stand in the queue beside: one of its kind is
 * queued for a connection at a time.  0 where there is none.
 */
static int64
queued_twin(const WorkerOrder *order)
{
	Oid			types[] = {TEXTOID, TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(order->connection), CStringGetTextDatum(run_kind_name(order->kind)),
	Int64GetDatum(order->of_run)};
	SPIPlanPtr	plan;
	bool		isnull;
	Datum		twin;

	SPI_connect();
	plan = SPI_prepare("SELECT minga_roster_internal.queued_twin($1, $2, $3)", 3, types);
	SPI_execute_snapshot(plan, values, NULL, GetLatestSnapshot(), InvalidSnapshot, true, false, 1);
	twin = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	SPI_finish();
	return isnull ? 0 : DatumGetInt64(twin);
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
	SPI_execute_with_args("SELECT minga_roster_internal.insert_run($1, $2, $3, $4, 'queued', "
						  "$5)", 5, types, values, nulls, false, 0);
	SPI_finish();
	remember_transaction_id(before);
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("run " INT64_FORMAT " is queued, as no background worker could be registered", order->run),
			 errdetail("All of max_worker_processes are in use."),
			 errhint("It starts when another run ends or at the next roster_run_due. If this happens often, ask the "
					 "DBA to raise max_worker_processes.")));
}

/*
 * The wait ended by an error: the run is no longer wanted.  A worker that
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

/* The error of a failed or canceled run, as the worker met it. */
static void
raise_run_error(const WorkerOrder *order)
{
	char	   *sqlstate;
	char	   *message;
	char	   *detail;
	char	   *hint;

	SPI_connect();
	look("SELECT coalesce(sqlstate, 'XX000'), coalesce(error, state), detail, hint FROM minga_roster.runs WHERE run = "
		 "$1", order->run);
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
 * queued; throws the run's error when it did not succeed, and 55006 where one
 * of its kind is queued already.
 */
static bool
run_and_wait(WorkerOrder *order)
{
	BackgroundWorkerHandle *handle;
	RunView		view = {0};
	int64		twin = queued_twin(order);

	if (twin != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("run " INT64_FORMAT " of connection \"%s\" is queued already", twin, order->connection),
				 errdetail("Only one %s of a connection is queued at a time.", run_kind_name(order->kind)),
				 errhint("Wait for it (SELECT * FROM minga_roster.roster_status), or cancel it with roster_cancel.")));
	order->run = draw_run_number();
	if (!launch_worker(order, &handle))
	{
		if (order->kind == RUN_TEST)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("no background worker is free for a connection test"),
					 errdetail("All of max_worker_processes are in use."),
					 errhint("Try again later, or ask the DBA to raise max_worker_processes.")));
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
				 errmsg("no connection was given"),
				 errhint("List the connections: SELECT connection FROM minga_roster.connections WHERE retired_at IS "
						 "NULL.")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

/* Starts a run of the connection that is the first argument, waits for its end and returns its number. */
static int64
run_to_end(FunctionCallInfo fcinfo, RunKind kind)
{
	WorkerOrder order;

	make_order(&order, kind, connection_argument(fcinfo), 0);
	run_and_wait(&order);
	return order.run;
}

/* Starts a run that does something to the run that is the first argument, waits for its end and returns its number. */
static int64
run_of_run_to_end(FunctionCallInfo fcinfo, RunKind kind)
{
	int64		of_run;
	WorkerOrder order;
	MemoryContext caller = CurrentMemoryContext;
	char	   *connection;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("no run was given"),
				 errhint("List the runs: SELECT run, connection, kind, state FROM minga_roster.runs ORDER BY run "
						 "DESC.")));
	of_run = PG_GETARG_INT64(0);
	SPI_connect();
	connection = MemoryContextStrdup(caller, look_text("SELECT connection FROM "
													   "minga_roster_internal.known_run($1)", of_run));
	SPI_finish();
	make_order(&order, kind, connection, of_run);
	run_and_wait(&order);
	return order.run;
}

/* What a function does whose run is waited for, behind the door, and what it returns of it. */
typedef struct WaitingFunction
{
	const char *name;
	RunKind		kind;
	bool		of_run;			/* its first argument is a run, else a connection */
	const char *rows;			/* query of the rows it returns, NULL: the run's own row */
} WaitingFunction;

/* An undo pauses Automatic Rostering, which a caller would not expect of it. */
static void
tell_of_pause(int64 run)
{
	char	   *connection;

	SPI_connect();
	connection = look_text("SELECT c.connection "
						   "FROM minga_roster.connections c JOIN minga_roster.runs r USING (connection) "
						   "WHERE r.run = $1 AND c.automatic AND c.paused_cause IS NOT NULL", run);
	if (connection != NULL)
		ereport(NOTICE,
				(errmsg("Automatic Rostering of \"%s\" is paused", connection),
				 errdetail("The next evening would do again what was undone."),
				 errhint("Correct the cause, look at roster_preview, then call roster_enable(%s).",
						 quote_literal_cstr(connection))));
	SPI_finish();
}

static Datum
wait_behind(FunctionCallInfo fcinfo, void *arg)
{
	const WaitingFunction *function = arg;
	int64		run = function->of_run ? run_of_run_to_end(fcinfo, function->kind) : run_to_end(fcinfo, function->kind);

	if (function->kind == RUN_UNDO)
		tell_of_pause(run);
	if (function->rows == NULL)
		return run_row(run);
	return_rows(fcinfo, function->rows, run);
	return (Datum) 0;
}

static Datum
wait_for(FunctionCallInfo fcinfo, const WaitingFunction *function)
{
	refuse_on_standby(function->name);
	refuse_in_transaction(function->name);
	return door_pass(fcinfo, wait_behind, (void *) function);
}

Datum
roster_fetch(PG_FUNCTION_ARGS)
{
	const WaitingFunction function = {.name = "roster_fetch",.kind = RUN_FETCH};

	return wait_for(fcinfo, &function);
}

Datum
roster_sync(PG_FUNCTION_ARGS)
{
	const WaitingFunction function = {.name = "roster_sync",.kind = RUN_SYNC};

	return wait_for(fcinfo, &function);
}

Datum
roster_preview(PG_FUNCTION_ARGS)
{
	const WaitingFunction function = {.name = "roster_preview",.kind = RUN_PREVIEW,
		.rows = "SELECT * FROM minga_roster.changes WHERE run = $1 ORDER BY change"
	};

	return wait_for(fcinfo, &function);
}

Datum
roster_test_connection(PG_FUNCTION_ARGS)
{
	const WaitingFunction function = {.name = "roster_test_connection",.kind = RUN_TEST,
		.rows = "SELECT step, ok, detail, hint, elapsed "
		"FROM minga_roster.run_steps WHERE run = $1 ORDER BY position"
	};

	return wait_for(fcinfo, &function);
}

Datum
roster_diagnose(PG_FUNCTION_ARGS)
{
	const WaitingFunction function = {.name = "roster_diagnose",.kind = RUN_DIAGNOSE,
		.rows = "SELECT finding, value, ok, detail, hint "
		"FROM minga_roster.findings WHERE run = $1 ORDER BY position"
	};

	return wait_for(fcinfo, &function);
}

Datum
roster_approve(PG_FUNCTION_ARGS)
{
	const WaitingFunction function = {.name = "roster_approve",.kind = RUN_APPROVE,.of_run = true};

	return wait_for(fcinfo, &function);
}

Datum
roster_apply(PG_FUNCTION_ARGS)
{
	const WaitingFunction function = {.name = "roster_apply",.kind = RUN_APPLY,.of_run = true};

	return wait_for(fcinfo, &function);
}

Datum
roster_undo(PG_FUNCTION_ARGS)
{
	const WaitingFunction function = {.name = "roster_undo",.kind = RUN_UNDO,.of_run = true};

	return wait_for(fcinfo, &function);
}

Datum
roster_send_test_mail(PG_FUNCTION_ARGS)
{
	const WaitingFunction function = {.name = "roster_send_test_mail",.kind = RUN_MAIL,
		.rows = "SELECT email, state = 'sent', last_error, answer, minga_roster_internal.mail_hint(cause) "
		"FROM minga_roster.outbox WHERE run = $1 ORDER BY email"
	};

	return wait_for(fcinfo, &function);
}

static Datum
start_behind(FunctionCallInfo fcinfo, void *arg)
{
	WorkerOrder order;
	BackgroundWorkerHandle *handle;
	int64		twin;

	make_order(&order, *(RunKind *) arg, connection_argument(fcinfo), 0);
	twin = queued_twin(&order);
	if (twin != 0)
	{
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT " of connection \"%s\" is queued already", twin, order.connection),
				 errdetail("Only one %s of a connection is queued at a time.", run_kind_name(order.kind))));
		PG_RETURN_INT64(twin);
	}
	order.run = draw_run_number();
	if (!launch_worker(&order, &handle))
		queue_run(&order);
	PG_RETURN_INT64(order.run);
}

Datum
roster_start(PG_FUNCTION_ARGS)
{
	char	   *kind_name = PG_ARGISNULL(1) ? "NULL" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	RunKind		kind;

	refuse_on_standby("roster_start");
	if (!run_kind_of(kind_name, &kind) ||
		(kind != RUN_DIAGNOSE && kind != RUN_FETCH && kind != RUN_PREVIEW && kind != RUN_SYNC))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid kind of run \"%s\"", kind_name),
				 errdetail("The kinds that can be started are \"diagnose\", \"fetch\", \"preview\" and \"sync\"."),
				 errhint("Test a connection with roster_test_connection; apply held archives with roster_approve.")));
	return door_pass(fcinfo, start_behind, &kind);
}

static Datum
run_due_behind(FunctionCallInfo fcinfo, void *arg)
{
	WorkerOrder order;
	BackgroundWorkerHandle *handle;

	memset(&order, 0, sizeof(order));
	order.kind = RUN_DUTY;
	order.database = MyDatabaseId;
	order.requested_by = door_caller();
	if (!launch_worker(&order, &handle))
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no background worker could be registered for what is due"),
				 errdetail("All of max_worker_processes are in use."),
				 errhint("The next call, in a minute, tries again. If this happens often, ask the DBA to raise "
						 "max_worker_processes.")));
	PG_RETURN_VOID();
}

Datum
roster_run_due(PG_FUNCTION_ARGS)
{
	refuse_on_standby("roster_run_due");
	return door_pass(fcinfo, run_due_behind, NULL);
}
