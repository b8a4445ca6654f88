/*
 * worker.h
 *	  What launch.c hands to worker.c.
 */
#ifndef MINGA_ROSTER_WORKER_H
#define MINGA_ROSTER_WORKER_H

#include "minga_roster.h"
#include "postmaster/bgworker.h"

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

/* in run_row.c */
extern void execute(const char *statement, int nargs, Oid *types, Datum *values, const char *nulls);
extern void close_run(int64 run, const char *state, const char *sqlstate, const char *error, const char *detail, const char *hint);
extern bool run_is_recorded(int64 run);
extern void insert_run(const WorkerOrder *order, const char *state);

/* in launch.c */
extern bool launch_worker(const WorkerOrder *order, BackgroundWorkerHandle **handle);

/* in worker.c */
extern const char *run_kind_name(RunKind kind);
extern bool run_kind_of(const char *name, RunKind *kind);

#endif							/* MINGA_ROSTER_WORKER_H */
