/*
 * perform.h
 *	  Does the work of a run, and closes it.
 */
#ifndef MINGA_ROSTER_PERFORM_H
#define MINGA_ROSTER_PERFORM_H

#include "postgres.h"

#include "base/run_row.h"
#include "run/run_locks.h"

/* While a run is being worked on. */
extern bool run_is_open;

/* Whether the run that was worked on last failed because of a lock, or took too long. */
extern bool run_met_a_lock;

extern void perform_run(RosterRun *run, const RunLocks *locks);

#endif							/* MINGA_ROSTER_PERFORM_H */
