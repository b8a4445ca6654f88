/*
 * test_connection.h
 *	  The test of a connection.
 */
#ifndef MINGA_ROSTER_TEST_CONNECTION_H
#define MINGA_ROSTER_TEST_CONNECTION_H

#include "postgres.h"

#include "base/connection.h"
#include "base/run_row.h"

extern void test_connection(RosterConnection *connection, RosterRun *run);

#endif							/* MINGA_ROSTER_TEST_CONNECTION_H */
