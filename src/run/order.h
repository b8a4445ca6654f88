/*
 * order.h
 *	  What a worker is started for.
 */
#ifndef MINGA_ROSTER_ORDER_H
#define MINGA_ROSTER_ORDER_H

#include "postgres.h"

#include "postmaster/bgworker.h"

#include "base/connection.h"
#include "base/run_row.h"

/* Travels in bgw_extra. */
typedef struct WorkerOrder
{
	int64		run;			/* drawn by the caller; 0 for RUN_DUTY */
	int64		of_run;			/* for a run that is of another one, else 0 */
	Oid			database;
	Oid			requested_by;
	RunKind		kind;
	char		connection[CONNECTION_NAME_MAX + 1];
} WorkerOrder;

StaticAssertDecl(sizeof(WorkerOrder) <= BGW_EXTRALEN, "WorkerOrder has to fit into bgw_extra");

extern bool launch_worker(const WorkerOrder *order, BackgroundWorkerHandle **handle);

#endif							/* MINGA_ROSTER_ORDER_H */
