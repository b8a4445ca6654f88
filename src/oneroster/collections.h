/*
 * collections.h
 *	  The collections of a roster read into the stage.
 */
#ifndef MINGA_ROSTER_COLLECTIONS_H
#define MINGA_ROSTER_COLLECTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "base/run_row.h"
#include "oneroster/client.h"
#include "oneroster/fault.h"
#include "oneroster/needs.h"
#include "oneroster/stage.h"

extern RosterFault *read_collections(RosterClient *client, RosterRun *run, Stage *stage, RosterNeeds *needs,
									 List *collections, int requests, bool *filter_ignored);

#endif							/* MINGA_ROSTER_COLLECTIONS_H */
