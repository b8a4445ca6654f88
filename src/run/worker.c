/*
 * worker.c
 *	  The background worker: takes the locks of a run, writes its row, has its
 *	  work done (perform.c); then works the queue and ends.
 *
 * What it must survive:
 *	- SIGINT (roster_cancel, pg_cancel_backend): the run is closed as canceled;
 *	- SIGTERM (pg_terminate_backend, shutdown): the run is closed as failed and
 *	  the worker ends, and another one works what it left in the queue; its
 *	  handler raises a cancel, since FATAL would leave the row to be found dead;
 *	- a cancel as soon as the run is on record: it is kept until the run's work
 *	  begins;
 *	- a crash: the row stays running, and the first who can take the run's lock closes it;
 *	- another worker that queues a run just as this one looks at the queue for
 *	  the last time: each looks again after it let its locks go, and tries its
 *	  locks again after it queued its row, so one of the two sees the other;
 *	- DROP EXTENSION while it starts: there is nothing to write to, it ends.
 *
 * The worker connects as the bootstrap superuser, since a role that cannot log in
 * may not connect before PostgreSQL 17, with settings of its own (session.c).
 * From its first transaction on it is the extension's role (transaction.c); what
 * it does to the people relation it does as that relation's owner (as_owner.c).
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/connection.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/run_row.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/transaction.h"
#include "base/version.h"
#include "run/announce.h"
#include "run/order.h"
#include "run/outbox.h"
#include "run/perform.h"
#include "run/queue.h"
#include "run/run_locks.h"
#include "run/stop.h"

extern PGDLLEXPORT void roster_worker_main(Datum main_arg);

/* So long a cancel waits for its run to be on record. */
#define CANCEL_WAIT_MS 5000
#define CANCEL_POLL_MS 50

/* Relations whose locks a run of this worker has waited for in vain. */
static List *given_up = NIL;

/* Works on a run whose row is running; remembers the relation that it could not have. */
static void
perform(RosterRun *run, const RunLocks *locks, Oid people)
{
	perform_run(run, locks);
	if (run_met_a_lock && OidIsValid(people))
	{
		MemoryContext outer = MemoryContextSwitchTo(TopMemoryContext);

		given_up = list_append_unique_oid(given_up, people);
		MemoryContextSwitchTo(outer);
	}
}

/* Makes a queued run ours, in the open transaction; where it cannot be had, lets go of its connection. */
static bool
try_queued_run(RunLocks *locks, const QueuedRun *queued, bool last_choice, Oid *people)
{
	hold_cancels_for_run();
	if (claim_queued_run(queued, given_up, last_choice, people))
		return true;
	let_cancels_act();
	release_connection(locks);
	return false;
}

/*
 * Works on the first run from *next on in the queue that can be had, and leaves
 * *next behind it; false if there is none.  Looking, claiming and the first steps
 * of the run are one transaction, which may be open already: other workers may
 * have taken many of the queue since it was read.  It is not open afterwards.
 * One whose people are locked is worked on only if it is the last choice, and if
 * no other run waits for them: it would keep the worker from other schools.
 */
static bool
work_on_next(RunLocks *locks, List *queue, int *next, bool last_choice)
{
	const QueuedRun *claimed = NULL;
	RosterRun	run = {0};
	Oid			people;

	while (claimed == NULL && *next < list_length(queue) && !worker_terminated)
	{
		const QueuedRun *queued = list_nth(queue, (*next)++);

		if (!try_connection(locks, run_kind_holds_site(queued->kind), queued->connection_number, queued->site))
			continue;
		if (!IsTransactionState())
			begin_worker_steps();
		if (try_queued_run(locks, queued, last_choice, &people))
			claimed = queued;
	}
	if (claimed == NULL)
	{
		if (IsTransactionState())
			commit_worker_transaction();
		announce_noted_ends();
		return false;
	}
	run.run = claimed->run;
	run.kind = claimed->kind;
	strlcpy(run.connection, claimed->connection, sizeof(run.connection));
	perform(&run, locks, people);
	release_connection(locks);
	return true;
}

/*
 * Works the queue until nothing in it can be had.  A run left in the queue is
 * one whose connection or site another worker holds, or whose people another
 * worker waits for, and that worker looks at the queue afterwards.  A run queued
 * for want of a slot is seen by the look after the slot was released, which it is
 * behind each pass through the queue.
 */
static void
drain_queue(RunLocks *locks)
{
	MemoryContext drain_context = AllocSetContextCreate(TopMemoryContext, "minga_roster queue", ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(drain_context);
	int64		newest_seen = 0;
	int			seen = 0;

	release_slot(locks);
	while (!worker_terminated)
	{
		List	   *queue;
		int64		newest;
		bool		worked = false;
		int			next = 0;

		/* The first run is claimed in the same transaction. */
		begin_worker_steps();
		queue = read_queue();
		newest = queue == NIL ? 0 : ((QueuedRun *) llast(queue))->run;
		/* Nothing, or nothing new since a look in vain: done. */
		if (queue == NIL || (newest == newest_seen && list_length(queue) <= seen) || !try_slot(locks))
		{
			commit_worker_transaction();
			break;
		}
		while (work_on_next(locks, queue, &next, false))
			worked = true;
		/* The queue is looked at again after each of these. */
		next = 0;
		if (!worked)
			worked = work_on_next(locks, queue, &next, true);
		newest_seen = worked ? 0 : newest;
		seen = list_length(queue);
		release_slot(locks);
		MemoryContextReset(drain_context);
	}
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(drain_context);
}

/*
 * What a run needs to be begun: a slot, its connection and its site, and people
 * that no other run waits for.  Takes all or none; *busy says in words what was
 * missing.
 */
static bool
try_locks(RunLocks *locks, const WorkerOrder *order, const RosterConnection *connection, const char **busy,
		  Oid *people)
{
	*busy = "people";
	if (read_people_state(order->connection, order->kind, people) == PEOPLE_WAITED)
		return false;
	*busy = "slot";
	if (!try_slot(locks))
		return false;
	*busy = "connection";
	if (try_connection(locks, run_kind_holds_site(order->kind), connection->number, connection->site))
		return true;
	release_slot(locks);
	return false;
}

static void
record(const WorkerOrder *order, const char *state)
{
	insert_run(order->run, order->kind, order->connection, order->of_run, order->requested_by, state);
}

/* A test does not wait in the queue: it is on record as failed. */
static void
refuse_test(const WorkerOrder *order, const char *busy)
{
	record(order, "running");
	if (strcmp(busy, "slot") == 0)
		close_run(order->run, "failed", "53000", "no worker is free for a connection test",
				  psprintf("minga_roster.max_workers is %d, and as many runs are working.", roster_max_workers),
				  "Try again when one of them has ended (SELECT * FROM minga_roster.roster_status), or ask the DBA to "
				  "raise minga_roster.max_workers.");
	else
		close_run(order->run, "failed", "55006", psprintf("connection \"%s\" is busy", order->connection),
				  "Another run of it is working, and a student information system is asked by one run at a time.",
				  "Try again when it has ended (SELECT * FROM minga_roster.roster_status), or cancel it with "
				  "roster_cancel.");
}

/* The run that the worker was started for, at once or through the queue. */
static void
perform_order(const WorkerOrder *order, RunLocks *locks)
{
	RosterConnection *connection = load_connection(order->connection);
	RosterRun	run = {0};
	const char *busy;
	Oid			people;

	run.run = order->run;
	run.kind = order->kind;
	strlcpy(run.connection, order->connection, sizeof(run.connection));

	if (!run_lock_take(LOCK_RUN, order->run))
		return;
	if (try_locks(locks, order, connection, &busy, &people))
	{
		hold_cancels_for_run();
		record(order, "running");
		perform(&run, locks, people);
		announce_noted_ends();
		release_connection(locks);
		return;
	}
	if (order->kind == RUN_TEST)
		refuse_test(order, busy);
	else
		record(order, "queued");
	run_lock_release(LOCK_RUN, order->run);
}

/*
 * The mail that waits, once there is no run to be had: a mail server that is slow or hangs delays none.  An interrupt
 * ends it, and with it the worker.
 */
static void
perform_mail(void)
{
	MemoryContext outer = CurrentMemoryContext;

	PG_TRY();
	{
		send_waiting_mail();
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(outer);
	}
	PG_END_TRY();
}

/* One statement in one transaction. */
static void
execute_alone(const char *statement)
{
	begin_worker_transaction();
	execute_statement(statement, 0, NULL, NULL, NULL);
	commit_worker_transaction();
}

/*
 * Does a part of the duty: a statement in a transaction of its own.  Returns the
 * SQLSTATE of its failure, 0 for none.  Throws on a cancel alone.
 */
static int
try_part(const char *statement, int nargs, Oid *types, Datum *values)
{
	MemoryContext outer = CurrentMemoryContext;
	volatile int sqlstate = 0;

	PG_TRY();
	{
		begin_worker_transaction();
		execute_statement(statement, nargs, types, values, NULL);
		commit_worker_transaction();
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
	return sqlstate;
}

/*
 * A part of the duty.  Its failure is logged and noted for roster_health, by its
 * SQLSTATE alone since its text may quote people, and the parts behind it go on.
 */
static void
perform_part_of_duty(const char *statement)
{
	int			sqlstate = try_part(statement, 0, NULL, NULL);
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[2];

	if (sqlstate == 0)
		return;
	ereport(LOG,
			(errcode(sqlstate),
			 errmsg("minga_roster could not do a part of its minute's duty"),
			 errdetail("\"%s\" failed with SQLSTATE %s.", statement, unpack_sql_state(sqlstate)),
			 errhint("Run it by hand, after SET ROLE minga_roster_dba, to see why. The other parts go on.")));
	values[0] = CStringGetTextDatum(statement);
	values[1] = CStringGetTextDatum(unpack_sql_state(sqlstate));
	(void) try_part("UPDATE minga_roster_internal.heartbeat SET failed_part = $1, failed_sqlstate = $2, "
					"failed_at = now()", 2, types, values);
}

/* Parts of the duty in one transaction, or each in its own if one of them fails. */
static void
perform_parts_of_duty(const char *const *statements, int count)
{
	MemoryContext outer = CurrentMemoryContext;
	volatile bool failed = false;

	PG_TRY();
	{
		begin_worker_transaction();
		for (int i = 0; i < count; i++)
			execute_statement(statements[i], 0, NULL, NULL, NULL);
		commit_worker_transaction();
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		failed = true;
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(outer);
	}
	PG_END_TRY();
	for (int i = 0; i < count && failed; i++)
		perform_part_of_duty(statements[i]);
}

/* What roster_run_due starts: one worker at a time, the next minute brings another. */
static void
perform_duty(void)
{
	static const char *const evenings[] = {
		"SELECT minga_roster_internal.close_dead_runs()",
		"SELECT minga_roster_internal.note_clock()",
		"SELECT minga_roster_internal.queue_due_runs()"
	};
	static const char *const rest[] = {
		"SELECT minga_roster_internal.write_digests()",
		"SELECT minga_roster_internal.apply_retention()",
		"SELECT minga_roster_internal.empty_idle_stages()"
	};

	if (!run_lock_take(LOCK_DUTY, 1))
	{
		execute_alone(evenings[0]);
		return;
	}
	perform_parts_of_duty(evenings, lengthof(evenings));
	perform_parts_of_duty(rest, lengthof(rest) - (roster_keep_stage ? 1 : 0));
	run_lock_release(LOCK_DUTY, 1);
}

/*
 * Cancels a run for a caller who waited for it.  Its own worker may not have
 * come so far as to put it on record, and it may have ended by then.
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
	execute_statement("SELECT minga_roster_internal.do_cancel(run) FROM minga_roster.runs WHERE run = $1 AND state IN "
					  "('queued', 'running')",
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
	WorkerOrder order = {.kind = RUN_DUTY,.database = MyDatabaseId,.requested_by = GetSessionUserId()};
	BackgroundWorkerHandle *handle;

	if (!run_is_open)
		return;
	MemoryContextSwitchTo(TopMemoryContext);
	(void) launch_worker(&order, &handle);
}

/*
 * Becomes the extension's role for good, and notes that the minute's worker began; false where the extension is not
 * there. Throws where it is another version.
 */
static bool
become_dba(bool for_duty)
{
	Oid			role;

	if (!try_begin_worker_transaction())
		return false;
	version_check();
	role = GetUserId();
	if (for_duty)
		execute_statement("SELECT minga_roster_internal.beat()", 0, NULL, NULL, NULL);
	commit_worker_transaction();
	session_become(role);
	return true;
}

void
roster_worker_main(Datum main_arg)
{
	WorkerOrder order;
	RunLocks	locks = {0};

	never_dump_core();
	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	catch_stops();
	before_shmem_exit(leave_run, (Datum) 0);
	session_note_server();
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(order.database, InvalidOid, 0);
	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "minga_roster worker", ALLOCSET_DEFAULT_SIZES));
	session_settle();
	limit_lock_waits();
	prepare_watch();
	announce_ends();

	if (!become_dba(order.kind == RUN_DUTY))
		return;
	if (order.kind == RUN_CANCEL)
	{
		perform_cancel(order.run);
		announce_noted_ends();
		return;
	}
	if (order.kind == RUN_DUTY)
		perform_duty();
	else
	{
		execute_alone("SELECT minga_roster_internal.close_dead_runs()");
		if (!run_is_recorded(order.run))
			perform_order(&order, &locks);
	}
	announce_noted_ends();
	drain_queue(&locks);
	if (worker_terminated)
		hand_on_queue();
	else
		perform_mail();
}
