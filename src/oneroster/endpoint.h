/*
 * endpoint.h
 *	  The lists of a school, and how a page of one is asked for.
 */
#ifndef MINGA_ROSTER_ENDPOINT_H
#define MINGA_ROSTER_ENDPOINT_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "base/connection.h"
#include "base/run_row.h"
#include "oneroster/facts.h"
#include "oneroster/page.h"

/* How a page is asked for, beside what the facts say. */
#define ASK_WITHOUT_FIELDS 1
#define ASK_WITHOUT_SORT 2
#define ASK_FROM_END 4			/* in falling order */

/* People; objects; lists in the place of others that were denied, and those that go by the people. */
#define COLLECTION_ROUNDS 3

/* A collection to be read: a row of collections_to_read. */
typedef struct RosterCollection
{
	char	   *name;
	char	   *family;
	char	   *path;
	char	  **fallbacks;		/* paths to read instead, in order; ends with NULL */
	char	  **roles;			/* kept of a district-wide endpoint */
	int			nroles;			/* 0: all */
	bool		filtered;		/* a delta asks for what changed only */
	bool		is_rostered;	/* one of its categories is */
	char	   *fields;			/* that are asked for of each row, with commas between; or NULL */
	uint64		unwanted;		/* fields of a user that are passed over: ROW_FIELD_BIT */
	RowPath    *paths;			/* to values of a user */
	int			npaths;
	PageKind	kind;			/* what it lists */
	int			round;			/* in which it is read, from 0 */
	char	   *instead_of;		/* a collection of an earlier round: only where that one was denied; or NULL */
	bool		or_beside;		/* or where sessions are missing in that one */
} RosterCollection;

extern List *load_collections(RosterConnection *connection, const RosterRun *run);
extern List *load_contact_collections(RosterConnection *connection);
extern bool is_school_scoped(const char *path);
extern char *collection_path(RosterConnection *connection, const char *path);
extern char *endpoint_url(const ServerFacts *facts, const char *path, const char *fields, int limit, int64 offset,
						  int flags);
extern char **text_array(Datum array, int *count);
extern void reader_of_rows(PageReader *reader, RosterConnection *connection, const RosterCollection *collection);

#endif							/* MINGA_ROSTER_ENDPOINT_H */
