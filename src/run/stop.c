/*
 * stop.c
 *	  What ends a run before its time: SIGINT, SIGTERM, and the time that a merge
 *	  may take.
 *
 * What it must survive:
 *	- code of a deployment, below a merge, that catches the cancel and goes on: it
 *	  gets some seconds, then the worker dies of FATAL, which no one can catch;
 *	- a synchronous standby that is missing: a commit of a worker that was told to
 *	  end waits for none.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/as_owner.h"
#include "base/lock_wait.h"
#include "base/settings.h"
#include "run/stop.h"

/* So long code of a deployment may go on once the worker was told to stop. */
#define STOP_GRACE_MS 3000
#define WATCH_MS 500

/* So long a lock on the extension's own tables is waited for outside of a merge. */
#define OWN_LOCK_WAIT_S 45

volatile sig_atomic_t worker_terminated = false;	/* by SIGTERM */
volatile sig_atomic_t run_canceled = false; /* by SIGINT */
volatile sig_atomic_t merge_is_late = false;	/* the merge took longer than it may */

static volatile sig_atomic_t stops_are_held = false;
static volatile sig_atomic_t stops_wait = false;	/* until the run is on record, and whether one came */
static volatile sig_atomic_t stop_came = false;
static volatile TimestampTz told_to_stop_at;
static volatile TimestampTz merge_until;
static TimeoutId watch_timeout;

/* Ends the wait of a commit for a standby, which takes the cancel for itself.  Called in signal handlers. */
static void
end_standby_wait(void)
{
	if (MyProc->syncRepState == SYNC_REP_WAITING)
	{
		QueryCancelPending = true;
		SetLatch(MyLatch);
	}
}

/* Raises a cancel.  Called in signal handlers. */
static void
tell_to_stop(void)
{
	if (stops_wait)
	{
		stop_came = true;
		end_standby_wait();
		return;
	}
	lock_wait_note();
	if (!as_owner_stop)
		told_to_stop_at = GetCurrentTimestamp();
	as_owner_stop = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Whatever is committed from here on is committed on this server alone.  Called in signal handlers. */
static void
note_termination(void)
{
	worker_terminated = true;
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		synchronous_commit = SYNCHRONOUS_COMMIT_LOCAL_FLUSH;
}

/* SIGTERM: raise a cancel, and remember why. */
static void
worker_terminate(SIGNAL_ARGS)
{
	int			save_errno = errno;

	note_termination();
	tell_to_stop();
	errno = save_errno;
}

/*
 * SIGINT: someone's cancel, which does not count while stops are held, or the server's own way to say that a lock was
 * waited for too long, which is no cancel of the run.
 */
static void
worker_cancel(int signal_number, siginfo_t *from, void *context)
{
	int			save_errno = errno;

	if (from->si_pid == MyProcPid)
	{
		lock_wait_note();
		InterruptPending = true;
		QueryCancelPending = true;
		SetLatch(MyLatch);
	}
	else if (!stops_are_held)
	{
		run_canceled = true;
		tell_to_stop();
	}
	errno = save_errno;
}

/* SIGTERM where nothing may be broken off but the wait of a commit for a standby. */
static void
worker_note_termination(SIGNAL_ARGS)
{
	int			save_errno = errno;

	note_termination();
	end_standby_wait();
	errno = save_errno;
}

/* Sets how commits are made, unless the worker was told to end. */
void
commit_by(const char *mode)
{
	SetConfigOption("synchronous_commit", mode, PGC_USERSET, PGC_S_SESSION);
	if (worker_terminated)
		note_termination();
}

/* SIGINT and SIGTERM, from here on, mean a stop. */
void
catch_stops(void)
{
	struct sigaction action = {.sa_sigaction = worker_cancel,.sa_flags = SA_SIGINFO | SA_RESTART};

	stops_are_held = false;
	pqsignal(SIGTERM, worker_terminate);
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
}

/* From here on, until catch_stops, nothing is broken off; that the worker was told to end is noted. */
void
hold_stops(void)
{
	stops_are_held = true;
	pqsignal(SIGTERM, worker_note_termination);
	QueryCancelPending = false;
	as_owner_stop = false;
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
		merge_is_late = true;
		tell_to_stop();
	}
	if (as_owner_stop && as_owner_runs && TimestampDifferenceExceeds(told_to_stop_at, now, STOP_GRACE_MS))
	{
		ProcDiePending = true;
		InterruptPending = true;
	}
}

/* Once in a worker, before begin_watch. */
void
prepare_watch(void)
{
	watch_timeout = RegisterTimeout(USER_TIMEOUT, watch_merge);
}

/*
 * Outside of a merge: no lock is waited for longer than until the next worker comes, or workers that wait would
 * fill the server.
 */
void
limit_lock_waits(void)
{
	lock_wait_limit(Min(roster_lock_timeout, OWN_LOCK_WAIT_S));
}

/* The limits of a merge, and the watch over it, which ends with end_watch. */
void
begin_watch(void)
{
	TimestampTz now = GetCurrentTimestamp();

	merge_until = TimestampTzPlusMilliseconds(now, roster_merge_timeout * 1000.0);
	lock_wait_limit(roster_lock_timeout);
	enable_timeout_every(watch_timeout, TimestampTzPlusMilliseconds(now, WATCH_MS), WATCH_MS);
}

void
end_watch(void)
{
	disable_timeout(watch_timeout, false);
	limit_lock_waits();
}

/* A cancel that came until now was meant for something else. */
void
forget_cancel(void)
{
	QueryCancelPending = false;
	run_canceled = merge_is_late = as_owner_stop = false;
	lock_wait_forget();
}

/*
 * A cancel from here on is meant for the run that is about to go on record; perform_run lets it act.  Not
 * by holding off interrupts, since a lock could then be waited for without an end.
 */
void
hold_cancels_for_run(void)
{
	forget_cancel();
	stop_came = worker_terminated;
	stops_wait = true;
}

/* It is on record, or not to be had. */
void
let_cancels_act(void)
{
	stops_wait = false;
	if (stop_came)
		tell_to_stop();
	stop_came = false;
}
