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

/* What the rows of a fetch have that has to be settled once they are all there. */
typedef struct StageContent
{
	bool		repeats;		/* an id came twice, or may have */
	bool		without_role;
	bool		several_roles;
} StageContent;

extern Stage *stage_open(RosterConnection *connection, const char *outcome, bool keeps_orgs);
extern void stage_prepare(Stage *stage);
extern void stage_begin_page(Stage *stage, PageKind kind, const char *collection);
extern void stage_user(Stage *stage, PageRow *row, bool elsewhere);
extern void stage_object(Stage *stage, PageRow *row, bool elsewhere);
extern void stage_org(Stage *stage, PageRow *row);
extern void stage_end_page(Stage *stage);
extern void stage_note_repeats(Stage *stage, bool repeats);
extern void stage_begin_digest(Stage *stage);
extern char *stage_digest(const Stage *stage);
extern StageContent stage_content(const Stage *stage);

#endif							/* MINGA_ROSTER_STAGE_H */
