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

/* Whether a run could read and write people now. */
typedef enum PeopleState
{
	PEOPLE_FREE,
	PEOPLE_LOCKED,				/* a lock of another session is in the way */
	PEOPLE_WAITED				/* and a run is waiting for it, or about to */
} PeopleState;

extern List *read_queue(void);
extern PeopleState read_people_state(const char *connection, RunKind kind, Oid *people);
extern bool claim_queued_run(const QueuedRun *queued, const List *given_up, bool last_choice, Oid *people);
extern void claim_again(int64 run);

#endif							/* MINGA_ROSTER_QUEUE_H */
