/*
 * run_locks.h
 *	  The locks of runs: one at a time of a connection, of a site, so many at all.
 */
#ifndef MINGA_ROSTER_RUN_LOCKS_H
#define MINGA_ROSTER_RUN_LOCKS_H

#include "postgres.h"

/* What a lock is on; the number says which. */
typedef enum RunLockKind
{
	LOCK_RUN,					/* number of the run */
	LOCK_CONNECTION,			/* connections.number */
	LOCK_SITE,					/* a hash of the site */
	LOCK_SLOT,					/* 1 .. max_workers */
	LOCK_DUTY,					/* 1: the worker of roster_run_due */
	LOCK_EVENINGS,				/* 1: for queuing evenings, and arranging the pg_cron job */
	LOCK_MAIL					/* 1: the worker that sends mail */
} RunLockKind;

/* The locks of a worker's run; a number of 0 is a lock not held. */
typedef struct RunLocks
{
	int			slot;
	uint32		connection;
	uint32		site;
	bool		site_held;
	bool		connection_held;
} RunLocks;

extern bool run_lock_take(RunLockKind kind, int64 number);
extern void run_lock_release(RunLockKind kind, int64 number);
extern bool try_slot(RunLocks *locks);
extern void release_slot(RunLocks *locks);
extern bool try_connection(RunLocks *locks, bool with_site, int connection_number, const char *site);
extern void release_connection(RunLocks *locks);
extern void run_locks_retake(const RunLocks *locks, int64 run);
extern void run_locks_keep(const RunLocks *locks, int64 run);

#endif							/* MINGA_ROSTER_RUN_LOCKS_H */
