/*
 * schools.c
 *	  Which schools the connection's key can see, and whether the connection's
 *	  own is among them.
 *
 * A wrong School ID looks like an empty school, so it is looked for before
 * anything else is read.  Where the key may list neither schools nor orgs the
 * question stays open, and the school's own endpoints have to answer it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/connection.h"
#include "base/run_row.h"
#include "base/text.h"
#include "base/transaction.h"
#include "net/http.h"
#include "net/url.h"
#include "oneroster/attempt.h"
#include "oneroster/client.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/page.h"
#include "oneroster/page_request.h"
#include "oneroster/proof.h"
#include "oneroster/request.h"
#include "oneroster/row_values.h"
#include "oneroster/schools.h"
#include "oneroster/stage.h"

#define SCHOOLS_SHOWN 20
#define SCHOOL_PAGES_MAX 1000
#define BROKEN_PAGES_MAX 4		/* in all, each asked for again */

static void
take_org(void *taker, PageRow *row)
{
	SchoolList *list = taker;
	const char *school_id = list->connection->school_id;
	text	   *type = row->texts[ROW_TYPE];
	char	   *id = text_to_cstring(row->texts[ROW_SOURCED_ID]);
	char	   *name = row->texts[ROW_NAME] == NULL ? NULL : text_to_cstring(row->texts[ROW_NAME]);

	if (strcmp(id, school_id) == 0)
	{
		list->found = true;
		if (name != NULL && list->name == NULL)
			list->name = MemoryContextStrdup(GetMemoryChunkContext(list->text.data), printable(name, 100));
	}
	else if (pg_strcasecmp(id, school_id) == 0 && list->other_case == NULL)
		list->other_case = MemoryContextStrdup(GetMemoryChunkContext(list->text.data), printable(id, 100));

	if (type == NULL || pg_strcasecmp(text_to_cstring(type), "school") == 0)
	{
		list->count++;
		if (list->shown < SCHOOLS_SHOWN)
		{
			appendStringInfo(&list->text, "%s\"%s\" (%s)", list->shown > 0 ? ", " : "",
							 name == NULL ? "" : printable(name, 60), printable(id, 60));
			list->shown++;
		}
	}
	if (list->stage != NULL)
		stage_org(list->stage, row);
}

/*
 * Takes one page, staged in a transaction of its own where there is a stage.  Of
 * a list that is whole with it, and has the school, that stays open (list->is_open).
 * *again: it broke off and is to be asked for again; nothing of it is kept.
 */
static RosterFault *
take_page(SchoolList *list, PageReader *reader, HttpResponse *response, int64 offset, RosterRun *run, bool *again)
{
	int64		count_before = list->count;
	int			shown_before = list->shown;
	int			len_before = list->text.len;
	MemoryContext caller = CurrentMemoryContext;
	RosterFault *fault;

	*again = false;
	if (list->stage == NULL)
		return read_page(reader, response);
	begin_worker_transaction();
	stage_begin_page(list->stage, PAGE_ORGS, reader->subject);
	fault = read_page(reader, response);
	if (fault != NULL)
	{
		bool		broke_off = fault->broke_off;

		MemoryContextSwitchTo(caller);
		fault = fault_make(fault->sqlstate, fault->message, fault->detail, fault->hint);
		abort_worker_transaction();
		list->count = count_before;
		list->shown = shown_before;
		list->text.len = len_before;
		list->text.data[len_before] = '\0';
		*again = broke_off && ++list->broken <= BROKEN_PAGES_MAX;
		return fault;
	}
	stage_end_page(list->stage);
	store_progress(run, false);
	list->is_open = list->found && reader->rows > 0 && response->total_count >= 0 &&
		offset + reader->rows >= response->total_count;
	if (list->is_open)
		MemoryContextSwitchTo(caller);
	else
		commit_worker_transaction();
	return NULL;
}

/*
 * Reads one endpoint to its end.  *denied: it answered 403 or 404 at
 * once.  The list proves nothing of people, so that whatever comes behind its
 * first page ends it; *whole says whether that was an end.
 */
static RosterFault *
read_orgs(RosterClient *client, RosterRun *run, SchoolList *list, const char *path, bool *denied, bool *whole)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "minga_roster schools", ALLOCSET_DEFAULT_SIZES);
	PageReader	reader = {.kind = PAGE_ORGS,.subject = "schools",.path = path,.take_row = take_org,.taker = list};
	RosterFault *fault = NULL;
	int64		offset = 0;
	uint64		first_hash = 0;
	uint64		hash_before = 0;
	bool		asked_for_less = false;
	bool		wider = true;	/* limits reach beyond the offset, for servers that take them for the end */
	bool		full = false;	/* the last page */
	int			pages = 0;

	*denied = false;
	*whole = false;
	while (pages < SCHOOL_PAGES_MAX)
	{
		int			limit = page_size_for(&client->facts);
		int64		asked = pages > 0 && wider ? Min(offset + limit, INT_MAX) : limit;
		HttpResponse *response;
		bool		again;

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		reader.rows = 0;
		reader.bare = false;
		fault = get_page(client, path, NULL, (int) asked, offset, 0, &response);
		if (fault == NULL)
		{
			MemoryContextSwitchTo(caller);
			fault = take_page(list, &reader, response, offset, run, &again);
			if (again)
			{
				client->an_answer_broke_off = true;
				run->retries++;
				continue;
			}
			client_count_rows(client, reader.rows);
			if (fault == NULL && reader.bare && pages == 0)
				fault = page_without_rows(&reader, "");
			MemoryContextSwitchTo(context);
		}
		if (pages == 0 && !asked_for_less && (fault != NULL ? request_was_refused(response) : reader.rows == 0))
		{
			asked_for_less = true;
			if (find_out_refusal(client, &reader, limit, fault == NULL))
				continue;
		}
		if (pages > 0 && fault != NULL && request_was_refused(response))
		{
			if (asked > limit)
			{
				wider = false;
				continue;
			}
			fault = NULL;
			break;
		}
		if (fault != NULL)
		{
			*denied = (pages == 0 && request_was_denied(response));
			if (*denied)
				list->denied_status = response->status;
			break;
		}
		if (reader.rows == 0)
		{
			*whole = (!full && !is_round(offset, limit)) || offset == 0;
			break;
		}
		if (pages > 0 && (reader.ids_hash == hash_before || reader.ids_hash == first_hash))
			break;
		if (pages == 0)
			first_hash = reader.ids_hash;
		hash_before = reader.ids_hash;
		full = reader.rows >= limit;
		offset += reader.rows;
		pages++;
		if (response->total_count >= 0 && offset >= response->total_count)
		{
			*whole = (pages > 1 || !full);
			break;
		}
	}
	MemoryContextSwitchTo(caller);
	if (fault == NULL)			/* else it may live there */
		MemoryContextDelete(context);
	return fault;
}

/* Whether the SIS knows the school by its id, be it in no list. */
static bool
knows_school(RosterClient *client, const char *path)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "minga_roster school", ALLOCSET_DEFAULT_SIZES);
	const char *school_id = client->connection->school_id;
	HttpResponse *response;
	bool		known;

	MemoryContextSwitchTo(context);
	known = get_page(client, psprintf("%s/%s", path, url_encode(school_id)), NULL, 0, 0, 0, &response) == NULL &&
		response->body != NULL && strstr(response->body, psprintf("\"%s\"", school_id)) != NULL;
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return known;
}

/*
 * Reads the schools that the key can see into the list, and into the stage
 * where there is one.  Returns NULL or a fault, palloc'd; that an endpoint
 * denies the list is none (list->denied).  Not inside a transaction; may leave
 * one open (list->is_open).
 */
RosterFault *
read_schools(RosterClient *client, RosterRun *run, Stage *stage, SchoolList *list)
{
	RosterFault *fault;
	bool		denied;
	bool		orgs_denied;
	bool		whole;

	memset(list, 0, sizeof(SchoolList));
	list->connection = client->connection;
	list->stage = stage;
	initStringInfo(&list->text);

	fault = read_orgs(client, run, list, "/schools", &denied, &whole);
	if (fault != NULL && !denied)
		return fault;
	if (!list->found && !denied && !whole)
		list->found = knows_school(client, "/schools");
	if (!denied && (list->count > 0 || list->found))
		return NULL;
	fault = read_orgs(client, run, list, "/orgs", &orgs_denied, &whole);
	if (fault != NULL && !orgs_denied)
		return fault;
	if (!list->found && !orgs_denied && !whole)
		list->found = knows_school(client, "/orgs");
	list->denied = denied && orgs_denied;
	return NULL;
}

/* NULL where the school is there or the list was denied; else the fault that it is unknown. */
RosterFault *
school_fault(const SchoolList *list)
{
	RosterConnection *connection = list->connection;
	char	   *message;
	char	   *detail;
	char	   *hint;
	char	   *quoted;

	if (list->found || list->denied)
		return NULL;
	quoted = quote_literal_cstr(connection->name);
	message = psprintf("school \"%s\" is not among the schools that the key can see", connection->school_id);
	if (list->count == 0)
		return fault_make(ERRCODE_INVALID_PARAMETER_VALUE, message, "The SIS lists no school to this key.",
						  "Ask the district's SIS administrator to share the school with this connection.");
	if (list->count > list->shown)
		detail = psprintf("The key can see " INT64_FORMAT " schools: %s, and " INT64_FORMAT " more.",
						  list->count, list->text.data, list->count - list->shown);
	else
		detail = psprintf("The key can see: %s.", list->text.data);
	if (list->other_case != NULL)
		hint = psprintf("School IDs are compared as written. Set this one with "
						"SELECT minga_roster.roster_configure(%s, school_id => %s).",
						quoted, quote_literal_cstr(list->other_case));
	else
		hint = psprintf("Set the School ID, in parentheses above, with SELECT minga_roster.roster_configure(%s, "
						"school_id => '...'). If the school is missing, ask the district's SIS administrator to share "
						"it with this connection.",
						quoted);
	return fault_make(ERRCODE_INVALID_PARAMETER_VALUE, message, detail, hint);
}
