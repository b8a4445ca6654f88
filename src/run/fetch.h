/*
 * fetch.h
 *	  The fetch of a run.
 */
#ifndef MINGA_ROSTER_FETCH_H
#define MINGA_ROSTER_FETCH_H

#include "postgres.h"

#include "base/connection.h"
#include "base/run_row.h"

typedef struct Fetch Fetch;

extern Fetch *fetch_begin(RosterConnection *connection, RosterRun *run);
extern void fetch_roster(Fetch *fetch);

#endif							/* MINGA_ROSTER_FETCH_H */
