/*
 * unbuilt.c
 *	  Weak stand-ins so that the library loads while files are missing.
 */
#include "postgres.h"

#include "minga_roster.h"

extern void fetch_roster(RosterConnection *connection, RosterRun *run) __attribute__((weak));
extern void test_connection(RosterConnection *connection, RosterRun *run) __attribute__((weak));

void
fetch_roster(RosterConnection *connection, RosterRun *run)
{
}

void
test_connection(RosterConnection *connection, RosterRun *run)
{
}
