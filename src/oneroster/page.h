/*
 * page.h
 *	  One page of a collection taken apart.
 */
#ifndef MINGA_ROSTER_PAGE_H
#define MINGA_ROSTER_PAGE_H

#include "postgres.h"

#include "net/http.h"
#include "oneroster/fault.h"
#include "oneroster/row_values.h"

/*
 * 20,000 users or more; a page and its copy without bad characters leave the
 * worker well below 64 MB whatever a server sends.
 */
#define PAGE_MAX_BYTES (20 * 1024 * 1024)

/*
 * How to read the pages of one collection, and what the page read last was.
 * The caller fills the first part once; read_page fills the second.
 */
typedef struct PageReader
{
	PageKind	kind;
	const char *subject;		/* what was asked for, for messages: "students" */
	const char *path;			/* of the request, below the root */
	void		(*take_row) (void *taker, PageRow *row);
	void	   *taker;
	const char *school_id;		/* whose roles count; users only */
	char		ended_before[11];	/* a role with an endDate before this day is over */
	const char *fields;			/* that are asked for of a user, or NULL */
	uint64		unwanted;		/* fields of a user that are passed over: ROW_FIELD_BIT */
	const RowPath *paths;		/* to values of a user */
	int			npaths;
	char		envelope[NAMEDATALEN];	/* key that held the rows last; "" at the start */

	bool		bare;			/* an object with no rows in it: {}, or a success status alone */
	bool		null_list;		/* null in the place of the rows */
	int			rows;
	int			without_id;
	uint64		ids_hash;		/* of the sourcedIds, in whatever order */
} PageReader;

extern RosterFault *read_page(PageReader *reader, HttpResponse *response);
extern char *page_description(char *body, size_t len);
extern RosterFault *page_without_rows(PageReader *reader, const char *keys);

#endif							/* MINGA_ROSTER_PAGE_H */
