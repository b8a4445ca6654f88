/*
 * wait.h
 *	  Waiting for a run that a worker does.
 */
#ifndef MINGA_ROSTER_WAIT_H
#define MINGA_ROSTER_WAIT_H

#include "postgres.h"

#include "postmaster/bgworker.h"

#include "run/order.h"

/* What the wait looks at in the run's row. */
typedef struct RunView
{
	bool		recorded;
	bool		queued;
	bool		finished;
	bool		succeeded;
	int			pid;			/* 0 unless running */
	char		phase[16];
	int64		pages;
	int64		rows_staged;
} RunView;

extern void look(const char *query, int64 run);
extern char *look_text(const char *query, int64 run);
extern void wait_for_run(const WorkerOrder *order, BackgroundWorkerHandle *handle, RunView *view);

#endif							/* MINGA_ROSTER_WAIT_H */
