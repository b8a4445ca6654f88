/*
 * schools.h
 *	  Which schools the key of a connection can see.
 */
#ifndef MINGA_ROSTER_SCHOOLS_H
#define MINGA_ROSTER_SCHOOLS_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/connection.h"
#include "base/run_row.h"
#include "oneroster/client.h"
#include "oneroster/fault.h"
#include "oneroster/stage.h"

/* The schools that the key can see, and what a person has to hear of them. */
typedef struct SchoolList
{
	RosterConnection *connection;
	Stage	   *stage;			/* or NULL: a connection test stages nothing */
	bool		denied;			/* no endpoint lists schools to this key */
	int			denied_status;	/* as the last one answered then */
	bool		found;			/* the connection's own */
	bool		is_open;		/* the transaction of the last page, for the caller to go on with and to commit */
	char	   *name;			/* its name, or NULL */
	char	   *other_case;		/* an id that differs in case alone, or NULL */
	int64		count;
	int			broken;			/* pages that broke off */
	int			shown;
	StringInfoData text;		/* the first of them */
} SchoolList;

extern RosterFault *read_schools(RosterClient *client, RosterRun *run, Stage *stage, SchoolList *list);
extern RosterFault *school_fault(const SchoolList *list);

#endif							/* MINGA_ROSTER_SCHOOLS_H */
