/*
 * needs.h
 *	  What of a row is staged.
 */
#ifndef MINGA_ROSTER_NEEDS_H
#define MINGA_ROSTER_NEEDS_H

#include "postgres.h"

#include "base/run_row.h"
#include "oneroster/endpoint.h"
#include "oneroster/row_values.h"

typedef struct RosterNeeds RosterNeeds;

extern RosterNeeds *load_needs(const RosterRun *run);
extern void reduce_row(const RosterNeeds *needs, const RosterCollection *collection, PageRow *row);

#endif							/* MINGA_ROSTER_NEEDS_H */
