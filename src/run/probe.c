/*
 * probe.c
 *	  One page of a list as a diagnosis asks for it, and how pages compare.
 *
 * It asks for ids and, of people, roles alone.
 */
#include "postgres.h"

#include <time.h>

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/connection.h"
#include "net/http.h"
#include "oneroster/client.h"
#include "oneroster/endpoint.h"
#include "oneroster/facts.h"
#include "oneroster/page.h"
#include "oneroster/page_request.h"
#include "oneroster/request.h"
#include "oneroster/row_values.h"
#include "run/probe.h"

#define PROBE_FIELDS "sourcedId,status,role,orgs"
#define PROBE_FIELDS_1_2 "sourcedId,status,roles"
#define PROBE_FIELDS_OF_OBJECTS "sourcedId,status"

static void
take_user(void *taker, PageRow *row)
{
	ProbePage  *page = taker;
	const text *role = row->texts[ROW_ROLE];

	if (page->ids_count < PROBE_ROWS)
		page->ids[page->ids_count++] = MemoryContextStrdup(GetMemoryChunkContext(page),
														   text_to_cstring(row->texts[ROW_SOURCED_ID]));
	if (page->wanted_role != NULL && role != NULL && !row->role_unclear &&
		pg_strcasecmp(text_to_cstring(role), page->wanted_role) != 0)
		page->other_roles++;
	if (row->texts[ROW_GIVEN_NAME] != NULL || row->texts[ROW_FAMILY_NAME] != NULL)
		page->named++;
}

/* Whether the connection's address is one of OneRoster 1.2. */
bool
is_1_2(const RosterConnection *connection)
{
	return strstr(connection->base_url, "/v1p2") != NULL;
}

/*
 * Asks for one page of the collection: path, which may have a query, with the
 * query added, "asc" or "desc" by sourcedId.  wanted_role may be NULL.
 */
ProbePage *
probe_page(RosterClient *client, const RosterCollection *collection, const char *path, const char *query,
		   const char *order, const char *wanted_role)
{
	const ServerFacts *facts = &client->facts;
	char	   *sort = facts->no_sort ? "" : psprintf("&sort=sourcedId&orderBy=%s", order);
	char	   *fields = facts->no_fields ? "" :
	psprintf("&fields=%s", collection->kind > PAGE_ORGS ? PROBE_FIELDS_OF_OBJECTS :
			 is_1_2(client->connection) ? PROBE_FIELDS_1_2 : PROBE_FIELDS);
	char	   *full_path = psprintf("%s%c%s%s%s", path, strchr(path, '?') == NULL ? '?' : '&', query, sort, fields);
	ProbePage  *page = palloc0(sizeof(ProbePage));
	PageReader	reader;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "minga_roster page of a diagnosis",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	HttpResponse *response;

	reader_of_rows(&reader, client->connection, collection);
	reader.path = full_path;
	reader.take_row = take_user;
	reader.taker = page;
	page->wanted_role = wanted_role;
	page->fault = get_page(client, full_path, NULL, 0, 0, 0, &response);
	page->denied = page->fault != NULL && request_was_denied(response);
	page->refused = page->fault != NULL && request_was_refused(response);
	page->total = response->total_count;
	page->elapsed_us = response->elapsed_us;
	page->clock_known = page->fault == NULL && response->server_time >= 0;
	page->clock_ahead = response->server_time - (int64) time(NULL);
	if (page->fault == NULL)
	{
		MemoryContextSwitchTo(caller);
		page->fault = read_page(&reader, response);
		page->rows = reader.rows;
		page->bare = reader.bare;
		page->refused = (page->fault != NULL);
		MemoryContextDelete(context);	/* with the page's bytes */
	}
	MemoryContextSwitchTo(caller);
	return page;
}

/* Whether both begin with the same rows, in the same order. */
bool
same_ids(const ProbePage *a, const ProbePage *b)
{
	if (a->ids_count != b->ids_count)
		return false;
	for (int i = 0; i < a->ids_count; i++)
	{
		if (strcmp(a->ids[i], b->ids[i]) != 0)
			return false;
	}
	return true;
}

/* Whether a row of the first ones of either is among those of the other. */
bool
share_ids(const ProbePage *a, const ProbePage *b)
{
	for (int i = 0; i < a->ids_count; i++)
	{
		for (int j = 0; j < b->ids_count; j++)
		{
			if (strcmp(a->ids[i], b->ids[j]) == 0)
				return true;
		}
	}
	return false;
}

/* As numbers where both are, since some servers sort so. */
static int
compare_numbers(const char *a, const char *b)
{
	size_t		a_len = strlen(a);
	size_t		b_len = strlen(b);

	if (a_len != b_len && strspn(a, "0123456789") == a_len && strspn(b, "0123456789") == b_len)
		return a_len < b_len ? -1 : 1;
	return strcmp(a, b);
}

/* Whether the ids rise (direction 1) or fall (-1) by some order that servers sort by. */
bool
in_order(const ProbePage *page, int direction)
{
	int			(*const orders[]) (const char *, const char *) = {strcmp, pg_strcasecmp, compare_numbers};

	for (int order = 0; order < lengthof(orders); order++)
	{
		int			i;

		for (i = 1; i < page->ids_count && orders[order] (page->ids[i - 1], page->ids[i]) * direction <= 0; i++)
			;
		if (i >= page->ids_count)
			return true;
	}
	return false;
}
