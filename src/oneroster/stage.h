/*
 * stage.h
 *	  Rows of a fetch into the stage of their connection.
 */
#ifndef MINGA_ROSTER_STAGE_H
#define MINGA_ROSTER_STAGE_H

#include "postgres.h"

#include "base/connection.h"
#include "oneroster/row_values.h"

typedef struct Stage Stage;

extern Stage *stage_open(RosterConnection *connection, bool goes_on_to_plan);
extern void stage_begin_page(Stage *stage, PageKind kind, const char *collection);
extern void stage_user(Stage *stage, PageRow *row, bool elsewhere);
extern void stage_org(Stage *stage, PageRow *row);
extern void stage_end_page(Stage *stage);

#endif							/* MINGA_ROSTER_STAGE_H */
