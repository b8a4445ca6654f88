/*
 * wait.c
 *	  The wait of a caller for the run that a worker does: looks at the run's row,
 *	  tells its state, and ends when the row is closed.
 *
 * What it must survive: a worker that ends before the run is on record, or
 * without closing it; a run that is queued for long; a run that waits for a lock
 * of the very session that waits for the run, or for someone who waits for that
 * lock (DROP EXTENSION), which the deadlock detector cannot see.
 */
#include "postgres.h"

#include <signal.h>

#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/error.h"
#include "run/order.h"
#include "run/wait.h"

#define POLL_MS 100
#define BLOCK_CHECK_MS 1000		/* does our own session block the run? */
#define NOTICE_MS 5000			/* progress, where the phase has not changed */
#define GONE_MS 1000			/* so long after its process a run may stay open */
#define RELAUNCH_MS 10000		/* a queued run gets another worker to look at it */

/*
 * Executes a query with a snapshot that sees what workers have committed,
 * whatever the isolation level.  SPI is connected.
 */
void
look(const char *query, int64 run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run)};
	SPIPlanPtr	plan = SPI_prepare(query, 1, types);

	SPI_execute_snapshot(plan, values, NULL, GetLatestSnapshot(), InvalidSnapshot, true, false, 0);
}

/* The first column of the first row, palloc'd by SPI; NULL where there is no row. */
char *
look_text(const char *query, int64 run)
{
	look(query, run);
	return SPI_processed == 0 ? NULL : SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/* The row as it is now; recorded is false where there is none. */
static void
view_run(int64 run, RunView *view)
{
	char	   *state;
	char	   *value;

	memset(view, 0, sizeof(*view));
	SPI_connect();
	look("SELECT state, coalesce(pid, 0), coalesce(phase, ''), pages, rows_staged "
		 "FROM minga_roster.runs WHERE run = $1", run);
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
 * Whether the process waits for a lock that this session holds, or for someone
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
		ArrayType  *blockers = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids,
																	  Int32GetDatum(list_nth_int(waiting, i))));
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
void
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
					 errhint("Ask the DBA to look in the server's log for the reason.")));
		/* A worker that could not even close its run; the next one finds it dead. */
		if (view->pid == 0 || BackendPidGetProc(view->pid) != NULL)
			seen_alive = now;
		else if (TimestampDifferenceExceeds(seen_alive, now, GONE_MS))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the worker of run " INT64_FORMAT " ended without closing it", order->run),
					 errhint("Ask the DBA to look in the server's log for the reason.")));
		if (view->queued)
		{
			if (!shown_queued)
				notice_progress(order->run, view);
			shown_queued = true;
			/* Should the worker that was to work the queue be gone, another looks at it. */
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
		if ((view->pid != 0 || status == BGWH_STARTED) && due(&block_checked, now, BLOCK_CHECK_MS) &&
			blocked_by_us(worker_pid, &through))
		{
			int			pid = view->pid;

			/* Of the work that follows a run no one waits for the end. */
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
					 through == 0 ? errdetail("The worker, process %d, is blocked by this session, process "
											  "%d.", worker_pid, MyProcPid)
					 : errdetail("The worker, process %d, waits for process %d, which is blocked by this session, "
								 "process %d.",
								 worker_pid, through, MyProcPid),
					 errhint("Let the lock go first, or use roster_start, which does not wait.")));
		}

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
