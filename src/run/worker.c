/*
 * worker.c
 *	  The background worker: takes the locks of a run, writes its row, does its
 *	  work and closes it whatever happens; then works the queue and ends.
 *
 * What it must survive:
 *	- an error in any step: the transaction is rolled back and the run closed as
 *	  failed, in a transaction of its own;
 *	- SIGINT (roster_cancel, pg_cancel_backend): the run is closed as canceled;
 *	- SIGTERM (pg_terminate_backend, shutdown): the run is closed as failed and
 *	  the worker ends, and another one works what it left in the queue; its
 *	  handler raises a cancel, since FATAL would leave the row to be found dead;
 *	- code of a deployment, below a merge, that catches the cancel and goes on: it
 *	  gets some seconds, then the worker dies of FATAL, which nobody can catch;
 *	- a merge that waits for a lock or does not end: lock_timeout, merge_timeout;
 *	- a cancel as soon as the run is on record: it is kept until the run's work
 *	  begins;
 *	- a crash: the row stays running, and whoever can take the run's lock closes it;
 *	- another worker that queues a run just as this one looks at the queue for
 *	  the last time: each looks again after it let its locks go, and tries its
 *	  locks again after it queued its row, so one of the two sees the other;
 *	- DROP EXTENSION while it starts: there is nothing to write to, it ends.
 *
 * The worker connects as the bootstrap superuser, with settings of its own
 * (session.c); what it does to the people relation it does as that relation's
 * owner (as_owner.c).
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/as_owner.h"
#include "base/compat.h"
#include "run/run_locks.h"
#include "base/session.h"
#include "run/worker.h"

/* A run in the queue, as queued_runs() returns it. */
typedef struct QueuedRun
{
	int64		run;
	int64		of_run;
	int			connection_number;
	RunKind		kind;
	char	   *connection;
	char	   *site;
} QueuedRun;

static const char *const kind_names[] = {
	"test", "diagnose", "fetch", "preview", "sync", "approve", "apply", "undo", "mail"
};

/* So long a cancel waits for its run to be on record. */
#define CANCEL_WAIT_MS 5000
#define CANCEL_POLL_MS 50

/* So long code of a deployment may go on once the worker was told to stop. */
#define STOP_GRACE_MS 3000
#define WATCH_MS 500

static volatile sig_atomic_t terminated = false;	/* by SIGTERM */
static volatile sig_atomic_t canceled = false;	/* by SIGINT */
static volatile sig_atomic_t late = false;	/* the merge took longer than it may */
static volatile TimestampTz told_to_stop_at;
static volatile TimestampTz merge_until;
static TimeoutId watch_timeout;
static bool run_is_open = false;
static char *synchronous_commit_before = NULL;

const char *
run_kind_name(RunKind kind)
{
	return kind_names[kind];
}

bool
run_kind_of(const char *name, RunKind *kind)
{
	for (int i = RUN_TEST; i <= RUN_UNDO; i++)
	{
		if (strcmp(name, kind_names[i]) == 0)
		{
			*kind = (RunKind) i;
			return true;
		}
	}
	return false;
}

/* Raises a cancel.  Called in signal handlers. */
static void
tell_to_stop(void)
{
	if (!as_owner_stop)
		told_to_stop_at = GetCurrentTimestamp();
	as_owner_stop = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* SIGTERM: raise a cancel, and remember why. */
static void
worker_terminate(SIGNAL_ARGS)
{
	int			save_errno = errno;

	terminated = true;
	tell_to_stop();
	errno = save_errno;
}

/*
 * SIGINT: somebody's cancel, or the server's own way to say that a lock was waited for too long, which is no cancel of
 * the run.
 */
static void
worker_cancel(int signal_number, siginfo_t *from, void *context)
{
	int			save_errno = errno;

	if (from->si_pid == MyProcPid)
	{
		InterruptPending = true;
		QueryCancelPending = true;
		SetLatch(MyLatch);
	}
	else
	{
		canceled = true;
		tell_to_stop();
	}
	errno = save_errno;
}

static void
catch_cancels(void)
{
	struct sigaction action = {.sa_sigaction = worker_cancel,.sa_flags = SA_SIGINFO | SA_RESTART};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
}

/*
 * While a merge works, each WATCH_MS, in the handler of SIGALRM: ends one that
 * takes too long, and the worker where code of the deployment does not stop.
 */
static void
watch_merge(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!as_owner_stop && now >= merge_until)
	{
		late = true;
		tell_to_stop();
	}
	if (as_owner_stop && as_owner_runs && TimestampDifferenceExceeds(told_to_stop_at, now, STOP_GRACE_MS))
	{
		ProcDiePending = true;
		InterruptPending = true;
	}
}

/* SIGTERM where nothing may be broken off. */
static void
worker_note_termination(SIGNAL_ARGS)
{
	terminated = true;
}

/* Whether runs of the kind ask the SIS; the others go on from what an earlier run has stored. */
static bool
reads_roster(RunKind kind)
{
	return kind == RUN_TEST || kind == RUN_DIAGNOSE || kind == RUN_FETCH || kind == RUN_PREVIEW || kind == RUN_SYNC;
}

/* No lock is waited for without an end: callers' transactions may hold some. */
static void
limit_lock_waits(void)
{
	char		limit[16];

	snprintf(limit, sizeof(limit), "%ds", roster_lock_timeout);
	SetConfigOption("lock_timeout", limit, PGC_USERSET, PGC_S_SESSION);
}

/* The limits of a merge, and the watch over it, which ends with end_watch. */
static void
begin_watch(void)
{
	TimestampTz now = GetCurrentTimestamp();

	merge_until = TimestampTzPlusMilliseconds(now, roster_merge_timeout * 1000.0);
	limit_lock_waits();
	enable_timeout_every(watch_timeout, TimestampTzPlusMilliseconds(now, WATCH_MS), WATCH_MS);
}

static void
end_watch(void)
{
	disable_timeout(watch_timeout, false);
}

/* Whether runs of the kind read or write people, so that no other run of the site may work meanwhile. */
static bool
holds_site(RunKind kind)
{
	return kind != RUN_TEST && kind != RUN_MAIL;
}

/* The one transaction that plans, guards, applies and closes. */
static void
merge(RosterRun *run, const RunLocks *locks)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};

	set_phase(run, reads_roster(run->kind) ? "plan" : "apply");
	begin_watch();
	begin_worker_transaction();
	run_locks_keep(locks, run->run);
	execute("SELECT minga_roster_internal.merge_run($1)", 1, types, values, NULL);
	close_run(run->run, "succeeded", NULL, NULL, NULL, NULL);
	commit_worker_transaction();
	end_watch();
}

/*
 * The last step of a connection test: whether a sync could read and write people.  Code of the deployment may run
 * below it.
 */
static void
test_people(RosterRun *run, const RunLocks *locks)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};

	begin_watch();
	begin_worker_transaction();
	run_locks_keep(locks, run->run);
	execute("SELECT minga_roster_internal.test_people($1)", 1, types, values, NULL);
	commit_worker_transaction();
	end_watch();
}

static void
work(RosterRun *run, const RunLocks *locks)
{
	RosterConnection *connection = load_connection(run->connection);

	if (run->kind == RUN_TEST)
	{
		test_connection(connection, run);
		test_people(run, locks);
	}
	else if (run->kind == RUN_MAIL)
		send_test_mail(run);
	else if (reads_roster(run->kind))
	{
		/* The stage can be fetched again: its commits need not reach the disk. */
		SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION);
		if (run->kind == RUN_DIAGNOSE)
			diagnose_connection(connection, run);
		else
			fetch_roster(connection, run);
		SetConfigOption("synchronous_commit", synchronous_commit_before, PGC_USERSET, PGC_S_SESSION);
	}
	if (reads_roster(run->kind))
		store_progress(run, true);
	if (run->kind == RUN_TEST || run->kind == RUN_DIAGNOSE || run->kind == RUN_FETCH || run->kind == RUN_MAIL)
		close_run(run->run, "succeeded", NULL, NULL, NULL, NULL);
	else
		merge(run, locks);
}

/* A cancel that came until now was meant for something else. */
static void
forget_cancel(void)
{
	QueryCancelPending = false;
	canceled = late = as_owner_stop = false;
}

/* A cancel from here on is meant for the run that is about to go on record; perform_run lets it act. */
static void
hold_cancels_for_run(void)
{
	HOLD_CANCEL_INTERRUPTS();
	forget_cancel();
	if (terminated)
		tell_to_stop();
}

/* Whether the error is in words of this extension: as_owner.c lets nobody else's RAISE through. */
static bool
is_in_our_words(const ErrorData *error)
{
	return strcmp(error->domain, TEXTDOMAIN) == 0 ||
		(error->funcname != NULL && strcmp(error->funcname, "exec_stmt_raise") == 0);
}

/*
 * Closes a run after an error.  The error's own text is kept, unless it may
 * hold data of people; where the worker was told to end, or the run to stop,
 * that is the text.
 */
static void
close_failed_run(RosterRun *run, ErrorData *error)
{
	const char *sqlstate = unpack_sql_state(error->sqlerrcode);

	if (terminated)
		close_run(run->run, "failed", "57P01", "the worker was terminated by an administrator",
				  "It was told to end by pg_terminate_backend or a shutdown of the server.",
				  "Nothing that was not committed has changed anybody.  Start the run again.");
	else if (canceled)
		close_run(run->run, "canceled", "57014", "canceled while running", NULL, NULL);
	else if (late)
		close_run(run->run, "failed", "57014", "the merge took too long",
				  psprintf("minga_roster.merge_timeout is %d s.", roster_merge_timeout),
				  "Nobody was changed. The DBA checks what the people relation's triggers do and who holds locks on it; for "
				  "a very large school, raise minga_roster.merge_timeout.");
	else if (is_in_our_words(error) || !sqlstate_may_quote_data(error->sqlerrcode))
		close_run(run->run, "failed", sqlstate, error->message, error->detail, error->hint);
	else
		close_run(run->run, "failed", sqlstate, "a statement of the run failed",
				  psprintf("Its text may hold data of people and is left out.%s%s%s%s%s%s",
						   error->table_name ? " Table \"" : "", error->table_name ? error->table_name : "", error->table_name ? "\"." : "",
						   error->constraint_name ? " Constraint \"" : "", error->constraint_name ? error->constraint_name : "", error->constraint_name ? "\"." : ""),
				  "Nobody was changed. The DBA looks whether something was altered in schema minga_roster; if not, it is a fault of minga_roster.");
}

/*
 * Works on a run whose row is running and whose locks are held, and closes it.
 * Cancels are held since before the row was there.  Throws only when even
 * closing fails.
 */
static void
perform_run(RosterRun *run, const RunLocks *locks)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext run_context = AllocSetContextCreate(TopMemoryContext, "minga_roster run", ALLOCSET_DEFAULT_SIZES);
	ErrorData  *volatile error = NULL;

	run->rows_expected = -1;
	run_is_open = true;
	MemoryContextSwitchTo(run_context);
	PG_TRY();
	{
		RESUME_CANCEL_INTERRUPTS();
		CHECK_FOR_INTERRUPTS();
		work(run, locks);
	}
	PG_CATCH();
	{
		HOLD_CANCEL_INTERRUPTS();
		MemoryContextSwitchTo(run_context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		run_locks_retake(locks, run->run);
		MemoryContextSwitchTo(run_context);
		end_watch();
		SetConfigOption("synchronous_commit", synchronous_commit_before, PGC_USERSET, PGC_S_SESSION);
		RESUME_CANCEL_INTERRUPTS();
	}
	PG_END_TRY();

	if (error != NULL)
	{
		/* Neither a hold of cancels nor a blocked signal outlasts an error that a function catches while the run is closed. */
		pqsignal(SIGINT, SIG_IGN);
		pqsignal(SIGTERM, worker_note_termination);
		QueryCancelPending = false;
		as_owner_stop = false;
		if (reads_roster(run->kind))
			store_progress(run, true);
		close_failed_run(run, error);
		pqsignal(SIGTERM, worker_terminate);
		catch_cancels();
		ereport(LOG,
				(errmsg("minga_roster run " INT64_FORMAT " of connection \"%s\" did not succeed", run->run, run->connection),
				 errdetail("The run's row in minga_roster.runs has the error.")));
	}
	/* A cancel that came too late for this run must not hit what follows. */
	forget_cancel();
	run_is_open = false;
	run_lock_release(LOCK_RUN, run->run);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(run_context);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* The queue as it is now, palloc'd in the current memory context. */
static List *
read_queue(void)
{
	MemoryContext owner = CurrentMemoryContext;
	List	   *queue = NIL;

	begin_worker_transaction();
	execute("SELECT run, of_run, connection_number, kind, connection, site FROM minga_roster_internal.queued_runs()", 0, NULL, NULL, NULL);
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
static bool
claim(int64 run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run)};
	bool		isnull;
	bool		claimed;

	if (!run_lock_take(LOCK_RUN, run))
		return false;
	begin_worker_transaction();
	execute("SELECT minga_roster_internal.claim_run($1)", 1, types, values, NULL);
	claimed = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	commit_worker_transaction();
	if (!claimed)
		run_lock_release(LOCK_RUN, run);
	return claimed;
}

/* Works on one queued run, if it can be had. */
static bool
try_queued_run(RunLocks *locks, const QueuedRun *queued)
{
	RosterRun	run = {0};
	bool		claimed;

	if (!try_connection(locks, holds_site(queued->kind), queued->connection_number, queued->site))
		return false;
	hold_cancels_for_run();
	claimed = claim(queued->run);
	if (!claimed)
		RESUME_CANCEL_INTERRUPTS();
	else
	{
		run.run = queued->run;
		run.kind = queued->kind;
		strlcpy(run.connection, queued->connection, sizeof(run.connection));
		perform_run(&run, locks);
	}
	release_connection(locks);
	return claimed;
}

/*
 * Works the queue until nothing in it can be had.  A run left in the queue is
 * one whose connection or site another worker holds, and that worker looks at
 * the queue after it let them go.  A run queued for want of a slot is seen by
 * the look after the slot was released.
 */
static void
drain_queue(RunLocks *locks)
{
	MemoryContext drain_context = AllocSetContextCreate(TopMemoryContext, "minga_roster queue", ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(drain_context);
	int64		newest_seen = 0;
	int			seen = 0;

	while (!terminated)
	{
		List	   *queue = read_queue();
		int64		newest = queue == NIL ? 0 : ((QueuedRun *) llast(queue))->run;
		bool		worked = false;
		ListCell   *cell;

		/* Without a slot, and nothing new since the look before: done. */
		if (locks->slot == 0 && (queue == NIL || (newest == newest_seen && list_length(queue) <= seen)))
			break;
		if (!try_slot(locks))
			break;
		foreach(cell, queue)
		{
			if (terminated)
				break;
			worked |= try_queued_run(locks, lfirst(cell));
		}
		if (!worked)
		{
			newest_seen = newest;
			seen = list_length(queue);
			release_slot(locks);
		}
		MemoryContextReset(drain_context);
	}
	release_slot(locks);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(drain_context);
}

/*
 * What a run needs to be begun: a slot, its connection and its site.  Takes all
 * or none; *busy says in words what was missing.
 */
static bool
try_locks(RunLocks *locks, const WorkerOrder *order, const RosterConnection *connection, const char **busy)
{
	*busy = "slot";
	if (!try_slot(locks))
		return false;
	*busy = "connection";
	if (try_connection(locks, holds_site(order->kind), connection->number, connection->site))
		return true;
	release_slot(locks);
	return false;
}

/* A test does not wait in the queue: it is on record as failed. */
static void
refuse_test(const WorkerOrder *order, const char *busy)
{
	insert_run(order, "running");
	if (strcmp(busy, "slot") == 0)
		close_run(order->run, "failed", "53000", "no worker is free for a connection test",
				  psprintf("minga_roster.max_workers is %d, and as many runs are working.", roster_max_workers),
				  "Try again when one of them has ended (SELECT * FROM minga_roster.roster_status), or let the DBA raise minga_roster.max_workers.");
	else
		close_run(order->run, "failed", "55006", psprintf("connection \"%s\" is busy", order->connection),
				  "Another run of it is working, and a student information system is asked by one run at a time.",
				  "Try again when it has ended (SELECT * FROM minga_roster.roster_status), or cancel it with roster_cancel.");
}

/* The run that the worker was started for, at once or through the queue. */
static void
perform_order(const WorkerOrder *order, RunLocks *locks)
{
	RosterConnection *connection = load_connection(order->connection);
	RosterRun	run = {0};
	const char *busy;

	run.run = order->run;
	run.kind = order->kind;
	strlcpy(run.connection, order->connection, sizeof(run.connection));

	if (!run_lock_take(LOCK_RUN, order->run))
		return;
	if (try_locks(locks, order, connection, &busy))
	{
		hold_cancels_for_run();
		insert_run(order, "running");
		perform_run(&run, locks);
		release_connection(locks);
		return;
	}
	if (order->kind == RUN_TEST)
		refuse_test(order, busy);
	else
		insert_run(order, "queued");
	run_lock_release(LOCK_RUN, order->run);
}

/* One statement in one transaction. */
static void
execute_alone(const char *statement)
{
	begin_worker_transaction();
	execute(statement, 0, NULL, NULL, NULL);
	commit_worker_transaction();
}

/*
 * A part of the duty: a statement, or the mail where that is NULL.  Its failure
 * is logged, by its SQLSTATE alone since its text may quote people, and the
 * parts behind it go on.  Throws on a cancel alone.
 */
static void
perform_part_of_duty(const char *statement)
{
	MemoryContext outer = CurrentMemoryContext;
	volatile int sqlstate = 0;

	PG_TRY();
	{
		if (statement != NULL)
			execute_alone(statement);
		else
			send_waiting_mail();
	}
	PG_CATCH();
	{
		sqlstate = geterrcode();
		if (sqlstate == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(outer);
	}
	PG_END_TRY();
	if (sqlstate != 0)
		ereport(LOG,
				(errcode(sqlstate),
				 errmsg("minga_roster could not do a part of its minute's duty"),
				 errdetail("\"%s\" failed with SQLSTATE %s.", statement != NULL ? statement : "sending mail", unpack_sql_state(sqlstate)),
				 errhint("The DBA runs it by hand to see why; the other parts go on.")));
}

/* What roster_run_due starts: one worker at a time, the next minute brings another. */
static void
perform_duty(void)
{
	if (!run_lock_take(LOCK_DUTY, 1))
		return;
	perform_part_of_duty("SELECT minga_roster_internal.queue_due_runs()");
	perform_part_of_duty("SELECT minga_roster_internal.apply_retention()");
	perform_part_of_duty(NULL);
	run_lock_release(LOCK_DUTY, 1);
}

/*
 * Cancels a run for a caller who waited for it.  Its own worker may not have
 * come so far as to put it on record, and it may have ended meanwhile.
 */
static void
perform_cancel(int64 run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run)};

	for (int waited = 0; waited < CANCEL_WAIT_MS && !run_is_recorded(run); waited += CANCEL_POLL_MS)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, CANCEL_POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	begin_worker_transaction();
	execute("SELECT minga_roster_internal.do_cancel(run) FROM minga_roster.runs WHERE run = $1 AND state IN ('queued', 'running')",
			1, types, values, NULL);
	commit_worker_transaction();
}

/* A worker that was told to end starts another for what it leaves in the queue. */
static void
hand_on_queue(void)
{
	WorkerOrder order = {.kind = RUN_DUTY,.database = MyDatabaseId,.requested_by = GetUserId()};
	BackgroundWorkerHandle *handle;

	if (read_queue() != NIL)
		(void) launch_worker(&order, &handle);
}

/*
 * At the exit of a worker, once its locks are free: where it dies in the middle
 * of a run another one closes that, and works the queue.
 */
static void
leave_run(int code, Datum arg)
{
	WorkerOrder order = {.kind = RUN_DUTY,.database = MyDatabaseId,.requested_by = BOOTSTRAP_SUPERUSERID};
	BackgroundWorkerHandle *handle;

	if (!run_is_open)
		return;
	MemoryContextSwitchTo(TopMemoryContext);
	(void) launch_worker(&order, &handle);
}

static bool
extension_is_there(void)
{
	if (!try_begin_worker_transaction())
		return false;
	commit_worker_transaction();
	return true;
}

void
roster_worker_main(Datum main_arg)
{
	WorkerOrder order;
	RunLocks	locks = {0};

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, worker_terminate);
	catch_cancels();
	before_shmem_exit(leave_run, (Datum) 0);
	session_note_server();
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(order.database, InvalidOid, 0);
	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "minga_roster worker", ALLOCSET_DEFAULT_SIZES));
	session_settle();
	limit_lock_waits();
	synchronous_commit_before = pstrdup(GetConfigOption("synchronous_commit", false, false));
	watch_timeout = RegisterTimeout(USER_TIMEOUT, watch_merge);

	if (!extension_is_there())
		return;
	if (order.kind == RUN_CANCEL)
	{
		perform_cancel(order.run);
		return;
	}
	execute_alone("SELECT minga_roster_internal.close_dead_runs()");
	if (order.kind == RUN_DUTY)
		perform_duty();
	else if (!run_is_recorded(order.run))
		perform_order(&order, &locks);
	drain_queue(&locks);
	if (terminated)
		hand_on_queue();
	else
		send_waiting_mail();
}
