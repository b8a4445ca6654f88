/*
 * queue.h
 *	  The queue of runs.
 */
#ifndef MINGA_ROSTER_QUEUE_H
#define MINGA_ROSTER_QUEUE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "base/run_row.h"

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

extern List *read_queue(void);
extern bool claim_queued_run(int64 run);

#endif							/* MINGA_ROSTER_QUEUE_H */
