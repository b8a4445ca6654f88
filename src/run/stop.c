/*
 * stop.c
 *	  What ends a run before its time: SIGINT, SIGTERM, and the time that a merge
 *	  may take.
 *
 * What it must survive: code of a deployment, below a merge, that catches the
 * cancel and goes on.  It gets some seconds, then the worker dies of FATAL, which
 * no one can catch.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/as_owner.h"
#include "base/settings.h"
#include "run/stop.h"

/* So long code of a deployment may go on once the worker was told to stop. */
#define STOP_GRACE_MS 3000
#define WATCH_MS 500

volatile sig_atomic_t worker_terminated = false;	/* by SIGTERM */
volatile sig_atomic_t run_canceled = false; /* by SIGINT */
volatile sig_atomic_t merge_is_late = false;	/* the merge took longer than it may */

static volatile TimestampTz told_to_stop_at;
static volatile TimestampTz merge_until;
static TimeoutId watch_timeout;

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

	worker_terminated = true;
	tell_to_stop();
	errno = save_errno;
}

/*
 * SIGINT: someone's cancel, or the server's own way to say that a lock was waited for too long, which is no cancel of
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
		run_canceled = true;
		tell_to_stop();
	}
	errno = save_errno;
}

/* SIGTERM where nothing may be broken off. */
static void
worker_note_termination(SIGNAL_ARGS)
{
	worker_terminated = true;
}

/* SIGINT and SIGTERM, from here on, mean a stop. */
void
catch_stops(void)
{
	struct sigaction action = {.sa_sigaction = worker_cancel,.sa_flags = SA_SIGINFO | SA_RESTART};

	pqsignal(SIGTERM, worker_terminate);
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
}

/* From here on, until catch_stops, nothing is broken off; that the worker was told to end is noted. */
void
hold_stops(void)
{
	pqsignal(SIGINT, SIG_IGN);
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

/* No lock is waited for without an end: callers' transactions may hold some. */
void
limit_lock_waits(void)
{
	char		limit[16];

	snprintf(limit, sizeof(limit), "%ds", roster_lock_timeout);
	SetConfigOption("lock_timeout", limit, PGC_USERSET, PGC_S_SESSION);
}

/* The limits of a merge, and the watch over it, which ends with end_watch. */
void
begin_watch(void)
{
	TimestampTz now = GetCurrentTimestamp();

	merge_until = TimestampTzPlusMilliseconds(now, roster_merge_timeout * 1000.0);
	limit_lock_waits();
	enable_timeout_every(watch_timeout, TimestampTzPlusMilliseconds(now, WATCH_MS), WATCH_MS);
}

void
end_watch(void)
{
	disable_timeout(watch_timeout, false);
}

/* A cancel that came until now was meant for something else. */
void
forget_cancel(void)
{
	QueryCancelPending = false;
	run_canceled = merge_is_late = as_owner_stop = false;
}

/* A cancel from here on is meant for the run that is about to go on record; perform_run lets it act. */
void
hold_cancels_for_run(void)
{
	HOLD_CANCEL_INTERRUPTS();
	forget_cancel();
	if (worker_terminated)
		tell_to_stop();
}
