/*
 * probe.h
 *	  One page of a list as a diagnosis asks for it.
 */
#ifndef MINGA_ROSTER_PROBE_H
#define MINGA_ROSTER_PROBE_H

#include "postgres.h"

#include "base/connection.h"
#include "oneroster/client.h"
#include "oneroster/endpoint.h"
#include "oneroster/fault.h"

#define PROBE_ROWS 10			/* rows asked for where the answer is only looked at */

/* What a probe looks at of a page. */
typedef struct ProbePage
{
	RosterFault *fault;			/* or NULL: the rest is set */
	bool		denied;
	bool		refused;		/* as it was asked for, and perhaps not otherwise */
	bool		bare;
	int			rows;
	int64		total;			/* claimed; -1: none */
	int64		elapsed_us;
	bool		clock_known;	/* a header Date came */
	int64		clock_ahead;	/* seconds, of the database server's clock */
	char	   *ids[PROBE_ROWS];	/* of the first rows */
	int			ids_count;
	const char *wanted_role;
	int			other_roles;	/* rows of another role than the wanted one */
	int			named;			/* rows with a name, which was not asked for */
} ProbePage;

extern bool is_1_2(const RosterConnection *connection);
extern ProbePage *probe_page(RosterClient *client, const RosterCollection *collection, const char *path,
							 const char *query, const char *order, const char *wanted_role);
extern bool same_ids(const ProbePage *a, const ProbePage *b);
extern bool share_ids(const ProbePage *a, const ProbePage *b);
extern bool in_order(const ProbePage *page, int direction);

#endif							/* MINGA_ROSTER_PROBE_H */
