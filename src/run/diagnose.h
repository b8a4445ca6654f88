/*
 * diagnose.h
 *	  The diagnosis of a SIS.
 */
#ifndef MINGA_ROSTER_DIAGNOSE_H
#define MINGA_ROSTER_DIAGNOSE_H

#include "postgres.h"

#include "base/connection.h"
#include "base/run_row.h"

extern void diagnose_connection(RosterConnection *connection, RosterRun *run);

#endif							/* MINGA_ROSTER_DIAGNOSE_H */
