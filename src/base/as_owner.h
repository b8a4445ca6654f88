/*
 * as_owner.h
 *	  Statements on people, which run with the rights of the relation's owner.
 */
#ifndef MINGA_ROSTER_AS_OWNER_H
#define MINGA_ROSTER_AS_OWNER_H

#include "postgres.h"

#include <signal.h>

/*
 * Between a worker's signal handlers and the statement that runs.  stop: the
 * worker was told to stop, and a statement that swallowed the cancel ends with
 * one all the same.  runs: code of the deployment may be running.
 */
extern volatile sig_atomic_t as_owner_stop;
extern volatile sig_atomic_t as_owner_runs;

#endif							/* MINGA_ROSTER_AS_OWNER_H */
