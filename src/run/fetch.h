/*
 * fetch.h
 *	  The fetch of a run.
 */
#ifndef MINGA_ROSTER_FETCH_H
#define MINGA_ROSTER_FETCH_H

#include "postgres.h"

#include "base/connection.h"
#include "base/run_row.h"

extern void fetch_roster(RosterConnection *connection, RosterRun *run);

#endif							/* MINGA_ROSTER_FETCH_H */
