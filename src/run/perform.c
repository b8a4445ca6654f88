/*
 * perform.c
 *	  Does the work of a run whose row is running, and closes it whatever happens.
 *
 * What it must survive:
 *	- an error in any step: the transaction is rolled back and the run closed as
 *	  failed, in a transaction of its own;
 *	- a merge that waits for a lock or does not end: lock_timeout, merge_timeout;
 *	- a stop (stop.c) while the run is being closed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/connection.h"
#include "base/error.h"
#include "base/lock_wait.h"
#include "base/name.h"
#include "base/redact.h"
#include "base/run_row.h"
#include "base/settings.h"
#include "base/transaction.h"
#include "oneroster/fault.h"
#include "oneroster/proof.h"
#include "run/announce.h"
#include "run/diagnose.h"
#include "run/fetch.h"
#include "run/outbox.h"
#include "run/perform.h"
#include "run/queue.h"
#include "run/run_locks.h"
#include "run/stop.h"
#include "run/test_connection.h"

/* So long a run waits for people that another one waits for as well: one worker at a time is enough for that. */
#define SECOND_WAIT_S 30

bool		run_is_open = false;
bool		run_met_a_lock = false;

static char *synchronous_commit_before = NULL;

/* Where the stage is not to outlast the run.  In the open transaction. */
static void
empty_stage(const RosterRun *run)
{
	Oid			types[] = {TEXTOID};
	Datum		values[1];

	if (roster_keep_stage)
		return;
	values[0] = CStringGetTextDatum(run->connection);
	execute_statement("SELECT minga_roster_internal.empty_stage($1, waits => false)", 1, types, values, NULL);
}

/*
 * What a fetch that broke off has to tell, and what it leaves.  What cannot be
 * emptied now is by roster_run_due.
 */
static void
end_broken_fetch(RosterRun *run)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		store_collections(run);
		begin_worker_transaction();
		empty_stage(run);
		commit_worker_transaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

/* The one transaction that plans, guards, applies and closes. */
static void
merge(RosterRun *run, const RunLocks *locks)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};
	Oid			people;

	begin_watch();
	begin_worker_transaction();
	run_locks_keep(locks, run->run);
	if (read_people_state(run->connection, run->kind, &people) == PEOPLE_WAITED)
		lock_wait_limit(Min(roster_lock_timeout, SECOND_WAIT_S));
	execute_statement("SELECT minga_roster_internal.merge_run($1)", 1, types, values, NULL);
	empty_stage(run);
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
	execute_statement("SELECT minga_roster_internal.test_people($1)", 1, types, values, NULL);
	commit_worker_transaction();
	end_watch();
}

/* The run's work, begun in the open transaction of its first steps, which is committed before anything is asked. */
static void
work(RosterRun *run, const RunLocks *locks)
{
	MemoryContext context = CurrentMemoryContext;
	RosterConnection *connection = load_connection(run->connection);
	Fetch	   *fetch = NULL;

	if (run_kind_reads_roster(run->kind) && run->kind != RUN_TEST && run->kind != RUN_DIAGNOSE)
		fetch = fetch_begin(connection, run);
	else if (!run_kind_reads_roster(run->kind) && run->kind != RUN_MAIL)
		set_phase(run, "apply");
	commit_worker_transaction();
	MemoryContextSwitchTo(context);
	/* A run that reads a roster does so while it waits. */
	if (!run_kind_reads_roster(run->kind))
		announce_earlier_ends();

	if (run->kind == RUN_TEST)
	{
		test_connection(connection, run);
		test_people(run, locks);
	}
	else if (run->kind == RUN_MAIL)
		send_test_mail(run);
	else if (run_kind_reads_roster(run->kind))
	{
		/* The stage can be fetched again: its commits need not reach the disk. */
		commit_by("off");
		if (run->kind == RUN_DIAGNOSE)
			diagnose_connection(connection, run);
		else
			fetch_roster(fetch);
		commit_by(synchronous_commit_before);
	}
	if (run->kind == RUN_TEST || run->kind == RUN_DIAGNOSE)
		store_progress(run, true);
	if (run->kind == RUN_TEST || run->kind == RUN_DIAGNOSE || run->kind == RUN_FETCH || run->kind == RUN_MAIL)
	{
		if (run->kind == RUN_DIAGNOSE || run->kind == RUN_FETCH)
		{
			begin_worker_transaction();
			empty_stage(run);
			commit_worker_transaction();
		}
		close_run(run->run, "succeeded", NULL, NULL, NULL, NULL);
	}
	else
		merge(run, locks);
}

/* Who has the lock that was waited for in vain; palloc'd, or NULL.  In a transaction of its own. */
static char *
who_blocked(void)
{
	MemoryContext outer = CurrentMemoryContext;
	char	   *detail;

	begin_worker_transaction();
	detail = lock_wait_detail();
	if (detail != NULL)
		detail = MemoryContextStrdup(outer, detail);
	commit_worker_transaction();
	return detail;
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
	char	   *waited = merge_is_late || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ? who_blocked() : NULL;

	if (worker_terminated)
		close_run(run->run, "failed", "57P01", "the worker was terminated by an administrator",
				  "It was told to end by pg_terminate_backend or a shutdown of the server.",
				  "What was not committed is undone. Start the run again.");
	else if (run_canceled)
		close_run(run->run, "canceled", "57014", "canceled while running", NULL, NULL);
	else if (merge_is_late)
		close_run(run->run, "failed", "57014", "the merge took too long",
				  psprintf("minga_roster.merge_timeout is %d s.%s%s", roster_merge_timeout,
						   waited != NULL ? " " : "", waited != NULL ? waited : ""),
				  "No people were changed. Ask the DBA to check what the people relation's triggers do and which "
				  "sessions hold locks on it; for a very large school, raise minga_roster.merge_timeout.");
	else if (waited != NULL)
		close_run(run->run, "failed", sqlstate, "a lock was waited for too long", waited,
				  "No people were changed. Ask the DBA to end the transaction that holds the lock, or to raise "
				  "minga_roster.lock_timeout. An evening is tried again.");
	else if (error_may_be_stored(error))
		close_run(run->run, "failed", sqlstate, error->message, fault_detail_of_error(error), error->hint);
	else
		close_run(run->run, "failed", sqlstate, "a statement of the run failed",
				  psprintf("Its text may hold people's data and is left out.%s%s",
						   error->table_name ? psprintf(" Table \"%s\".", error->table_name) : "",
						   error->constraint_name ? psprintf(" Constraint \"%s\".", error->constraint_name) : ""),
				  "No people were changed. Ask the DBA whether something was altered in schema minga_roster; if not, "
				  "report a bug of minga_roster.");
}

/*
 * Works on a run whose row is running and whose locks are held, and closes it.
 * An open transaction is the one that claimed it.  Cancels are held since before
 * the row was there.  Throws only when even closing fails.
 */
void
perform_run(RosterRun *run, const RunLocks *locks)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext run_context = AllocSetContextCreate(TopMemoryContext, "minga_roster run", ALLOCSET_DEFAULT_SIZES);
	ErrorData  *volatile error = NULL;
	bool		claims = IsTransactionState();

	if (synchronous_commit_before == NULL)
		synchronous_commit_before = MemoryContextStrdup(TopMemoryContext,
														GetConfigOption("synchronous_commit", false, false));
	run->rows_expected = -1;
	run->while_waiting = announce_old_ends;
	run_is_open = true;
	run_met_a_lock = false;
	MemoryContextSwitchTo(run_context);
	PG_TRY();
	{
		let_cancels_act();
		CHECK_FOR_INTERRUPTS();
		if (!claims)
			begin_worker_steps();
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
		commit_by(synchronous_commit_before);
		RESUME_CANCEL_INTERRUPTS();
	}
	PG_END_TRY();

	if (error != NULL)
	{
		/*
		 * Neither a hold of cancels nor a blocked signal outlasts an error that a function catches while the run is
		 * closed.
		 */
		hold_stops();
		run_met_a_lock = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE || merge_is_late;
		if (claims)
			claim_again(run->run);
		if (run_kind_reads_roster(run->kind))
		{
			store_progress(run, true);
			end_broken_fetch(run);
		}
		close_failed_run(run, error);
		catch_stops();
		ereport(LOG,
				(errmsg("minga_roster run " INT64_FORMAT " of connection \"%s\" did not "
						"succeed", run->run, run->connection),
				 errdetail("The run's row in minga_roster.runs has the error.")));
	}
	/* A cancel that came too late for this run must not hit what follows. */
	forget_cancel();
	run_is_open = false;
	names_hide(false);
	run_lock_release(LOCK_RUN, run->run);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(run_context);
	pgstat_report_activity(STATE_IDLE, NULL);
}
