/*
 * order.c
 *	  What a worker is started for, and its start.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"

#include "run/order.h"

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
