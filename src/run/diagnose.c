/*
 * diagnose.c
 *	  Examines a SIS: how it pages, sorts and filters, how long a token and a page
 *	  take, and, from a whole read of the roster, what its rows are like.
 *
 * Each finding is in the table findings as soon as it is there.  A fault of the
 * SIS is a finding and never an error, also where it stops the reading.  Few
 * requests are made, one at a time, and they ask for ids and roles alone; names
 * come with the whole read only, as in every fetch.  A finding holds no value
 * of a row, nor a word of the SIS's own: a vendor may read all of them.
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "oneroster/fetch.h"

#define SMALL_PAGE 10			/* rows asked for where the answer is only looked at */
#define ROLE_PAGE 100			/* and where a filter is to be caught */
#define SMALL_PAGES_MAX 16
#define CLOCK_TOLERANCE_US (60 * USECS_PER_SEC)
#define PROBE_FIELDS "sourcedId,status,role,orgs"
#define PROBE_FIELDS_1_2 "sourcedId,status,roles"
#define NO_DATE "dateLastModified>'9999-12-31T00:00:00.000Z'"
#define SIS_WORDS "; the SIS says: "	/* in a fault's detail (page.c) */

typedef enum Verdict
{
	AS_IT_SHOULD,
	NOT_AS_IT_SHOULD,
	TOLD						/* neither, or it could not be found out */
} Verdict;

typedef struct Diagnosis
{
	RosterConnection *connection;
	RosterRun  *run;
	RosterClient *client;
	MemoryContext context;		/* of what lives to the end */
	int			position;		/* of the latest finding */
	bool		is_1_2;			/* what it speaks by its address */
	RosterCollection *examined; /* the list that is looked at closely, and its path */
	const char *path;
	int64		small_us[SMALL_PAGES_MAX];	/* how long small pages took */
	int			small_count;
} Diagnosis;

/* A page as far as a probe looks at it. */
typedef struct ProbePage
{
	ClientFault *fault;			/* or NULL: the rest is set */
	bool		denied;
	bool		refused;		/* as it was asked for, and perhaps not otherwise */
	bool		bare;
	int			rows;
	int64		total;			/* claimed; -1: none */
	int64		elapsed_us;
	bool		clock_known;	/* a header Date came */
	int64		clock_ahead;	/* seconds, of the database server's clock */
	char	   *ids[SMALL_PAGE];	/* of the first rows */
	int			ids_count;
	const char *wanted_role;
	int			other_roles;	/* rows of another role than the wanted one */
	int			named;			/* rows with a name, which was not asked for */
} ProbePage;

/* Writes a finding, in a transaction of its own.  detail and hint may be NULL. */
static void
note(Diagnosis *diagnosis, const char *finding, Verdict verdict, const char *value, const char *detail, const char *hint)
{
	Oid			types[] = {INT8OID, INT4OID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, TEXTOID};
	Datum		values[7];
	char		nulls[] = "       ";

	begin_worker_transaction();
	values[0] = Int64GetDatum(diagnosis->run->run);
	values[1] = Int32GetDatum(++diagnosis->position);
	values[2] = CStringGetTextDatum(finding);
	values[3] = CStringGetTextDatum(value);
	values[4] = BoolGetDatum(verdict == AS_IT_SHOULD);
	nulls[4] = verdict == TOLD ? 'n' : ' ';
	values[5] = detail == NULL ? (Datum) 0 : CStringGetTextDatum(detail);
	nulls[5] = detail == NULL ? 'n' : ' ';
	values[6] = hint == NULL ? (Datum) 0 : CStringGetTextDatum(hint);
	nulls[6] = hint == NULL ? 'n' : ' ';
	SPI_execute_with_args("INSERT INTO minga_roster.findings (run, position, finding, value, ok, detail, hint) VALUES ($1, $2, $3, $4, $5, $6, $7)",
						  7, types, values, nulls, false, 0);
	store_progress(diagnosis->run, true);
	commit_worker_transaction();
}

/* Message and detail of a fault in one, without the words of the SIS. */
static char *
fault_sentences(const char *message, const char *detail)
{
	const char *words = detail == NULL ? NULL : strstr(detail, SIS_WORDS);
	char	   *text;

	if (detail == NULL)
		text = psprintf("%s.", message);
	else if (words != NULL)
		text = psprintf("%s. %.*s, with a description.", message, (int) (words - detail), detail);
	else
		text = psprintf("%s. %s", message, detail);
	text[0] = pg_ascii_toupper((unsigned char) text[0]);
	return text;
}

static void
note_fault(Diagnosis *diagnosis, const char *finding, Verdict verdict, const char *value, const ClientFault *fault)
{
	note(diagnosis, finding, verdict, value, fault_sentences(fault->message, fault->detail), fault->hint);
}

static char *
milliseconds(int64 us)
{
	return psprintf(INT64_FORMAT " ms", Max((us + 500) / 1000, 1));
}

static void
take_user(void *taker, PageRow *row)
{
	ProbePage  *page = taker;
	const text *role = row->texts[ROW_ROLE];

	if (page->ids_count < SMALL_PAGE)
		page->ids[page->ids_count++] = MemoryContextStrdup(GetMemoryChunkContext(page), text_to_cstring(row->texts[ROW_SOURCED_ID]));
	if (page->wanted_role != NULL && role != NULL && !row->role_unclear &&
		pg_strcasecmp(text_to_cstring(role), page->wanted_role) != 0)
		page->other_roles++;
	if (row->texts[ROW_GIVEN_NAME] != NULL || row->texts[ROW_FAMILY_NAME] != NULL)
		page->named++;
}

/*
 * Asks for one page of the collection: path, which may have a query, with the
 * query added, "asc" or "desc" by sourcedId.  wanted_role may be NULL.
 */
static ProbePage *
ask(Diagnosis *diagnosis, const RosterCollection *collection, const char *path, const char *query, const char *order, const char *wanted_role)
{
	const ServerFacts *facts = &diagnosis->client->facts;
	char	   *sort = facts->no_sort ? "" : psprintf("&sort=sourcedId&orderBy=%s", order);
	char	   *fields = facts->no_fields ? "" : psprintf("&fields=%s", diagnosis->is_1_2 ? PROBE_FIELDS_1_2 : PROBE_FIELDS);
	char	   *full_path = psprintf("%s%c%s%s%s", path, strchr(path, '?') == NULL ? '?' : '&', query, sort, fields);
	ProbePage  *page = palloc0(sizeof(ProbePage));
	PageReader	reader;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "minga_roster page of a diagnosis", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	HttpResponse *response;

	reader_of_users(&reader, diagnosis->connection, collection);
	reader.path = full_path;
	reader.take_row = take_user;
	reader.taker = page;
	page->wanted_role = wanted_role;
	page->fault = get_page(diagnosis->client, full_path, 0, 0, 0, &response);
	page->denied = page->fault != NULL && is_denied(response);
	page->refused = page->fault != NULL && client_was_refused(response);
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

/* A small page of the list that is examined; its time counts. */
static ProbePage *
ask_small(Diagnosis *diagnosis, const char *query, const char *order)
{
	ProbePage  *page = ask(diagnosis, diagnosis->examined, diagnosis->path, query, order, NULL);

	if (page->fault == NULL && diagnosis->small_count < SMALL_PAGES_MAX)
		diagnosis->small_us[diagnosis->small_count++] = page->elapsed_us;
	return page;
}

static bool
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

static bool
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
static bool
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

/* False where no token was given, or where nothing came of it. */
static bool
diagnose_token(Diagnosis *diagnosis)
{
	RosterClient *client = diagnosis->client;
	TimestampTz started = GetCurrentTimestamp();
	ClientFault *fault = client_authorize(client, true);
	char	   *took = milliseconds(GetCurrentTimestamp() - started);

	if (fault != NULL)
	{
		note_fault(diagnosis, "token", NOT_AS_IT_SHOULD, "none given", fault);
		return false;
	}
	if (client->connection->auth != AUTH_OAUTH2)
		note(diagnosis, "token", TOLD, "none asked for",
			 client->connection->auth == AUTH_BEARER ? "The client secret is the token." : "Each request is signed with the client secret.", NULL);
	else if (client->token_lifetime > 0)
		note(diagnosis, "token", AS_IT_SHOULD, psprintf("%d seconds", client->token_lifetime),
			 psprintf("The token endpoint answered in %s and gives its tokens that long.", took), NULL);
	else
		note(diagnosis, "token", TOLD, "lifetime not said",
			 psprintf("The token endpoint answered in %s, without expires_in.", took),
			 "RFC 6749 recommends expires_in. Without it a token is taken to live for five minutes.");
	return true;
}

/* Whether the list that is examined is given when less is asked of it, which is learned. */
static bool
is_had_with_less(Diagnosis *diagnosis)
{
	PageReader	reader;

	reader_of_users(&reader, diagnosis->connection, diagnosis->examined);
	reader.path = diagnosis->path;
	return find_out_refusal(diagnosis->client, &reader, page_size_for(diagnosis->client), false);
}

/*
 * Chooses the list that is examined: the first one with rows.  NULL where
 * there is none.
 */
static ProbePage *
choose_list(Diagnosis *diagnosis, List *collections)
{
	ListCell   *cell;

	foreach(cell, collections)
	{
		RosterCollection *collection = lfirst(cell);
		char	  **fallbacks = collection->fallbacks;

		for (const char *template = collection->path; template != NULL; template = *fallbacks++)
		{
			ProbePage  *page;

			diagnosis->examined = collection;
			diagnosis->path = collection_path(diagnosis->connection, template);
			page = ask_small(diagnosis, psprintf("limit=%d&offset=0", SMALL_PAGE), "asc");
			if (page->refused && is_had_with_less(diagnosis))
				page = ask_small(diagnosis, psprintf("limit=%d&offset=0", SMALL_PAGE), "asc");
			if (page->fault == NULL && page->rows > 0)
				return page;
			if (page->fault == NULL)
				note(diagnosis, psprintf("list of %s", collection->name), TOLD, "empty", NULL,
					 "If the school has such people, the district's SIS administrator shares them with this connection.");
			else
				note_fault(diagnosis, psprintf("list of %s", collection->name), page->denied ? TOLD : NOT_AS_IT_SHOULD,
						   page->denied ? "denied" : "not readable", page->fault);
			if (!page->denied)
				break;
		}
	}
	return NULL;
}

/* Rows that one page holds at most, and whether a second page is another one. */
static void
diagnose_paging(Diagnosis *diagnosis, const ProbePage *first)
{
	int			asked = diagnosis->connection->page_size;
	ProbePage  *second;
	ProbePage  *large;
	ProbePage  *later = NULL;	/* one with another total */
	bool		all_seen = first->total >= 0 ? first->rows >= first->total : first->rows < SMALL_PAGE;

	second = ask_small(diagnosis, psprintf("limit=%d&offset=%d", SMALL_PAGE, first->rows), "asc");
	if (second->fault != NULL)
		note_fault(diagnosis, "offset", second->denied && all_seen ? TOLD : NOT_AS_IT_SHOULD,
				   second->denied && all_seen ? "404 behind the end" : "refused", second->fault);
	else if (same_ids(first, second))
		note(diagnosis, "offset", NOT_AS_IT_SHOULD, "ignored",
			 psprintf("The page at offset %d holds the rows of the page at offset 0.", first->rows),
			 "Without offset a list cannot be read to its end: ask the SIS vendor.");
	else if (second->rows > 0 && share_ids(first, second))
		note(diagnosis, "offset", NOT_AS_IT_SHOULD, "pages overlap",
			 psprintf("The page at offset %d holds rows of the page at offset 0.", first->rows),
			 "Rows that come twice stand in the place of others that do not come: ask the SIS vendor for a stable order.");
	else
		note(diagnosis, "offset", AS_IT_SHOULD, "honoured",
			 second->rows > 0 ? psprintf("The pages at offset 0 and %d have no row in common.", first->rows)
			 : "The page behind the last row is empty.", NULL);

	large = ask(diagnosis, diagnosis->examined, diagnosis->path, psprintf("limit=%d&offset=0", asked), "asc", NULL);
	if (large->fault != NULL)
		note_fault(diagnosis, "page size", NOT_AS_IT_SHOULD, psprintf("%d refused", asked), large->fault);
	else if (large->rows >= asked)
		note(diagnosis, "page size", AS_IT_SHOULD, psprintf("%d rows", large->rows), "As many rows came as were asked for.", NULL);
	else if (first->total >= 0 ? large->rows >= first->total : large->rows < first->rows)
		note(diagnosis, "page size", AS_IT_SHOULD, psprintf("%d rows, all there are", large->rows),
			 psprintf("%d were asked for, and the whole list came in one page.", asked), NULL);
	else
	{
		ProbePage  *rest = ask_small(diagnosis, psprintf("limit=%d&offset=%d", SMALL_PAGE, large->rows), "asc");

		if (rest->fault == NULL && rest->rows > 0)
			note(diagnosis, "page size", TOLD, psprintf("%d rows at the most", large->rows),
				 psprintf("%d were asked for, and the list goes on behind those that came.", asked),
				 "The SIS caps its pages, which is allowed; larger pages would mean fewer requests.");
		else
			note(diagnosis, "page size", AS_IT_SHOULD, psprintf("%d rows, all there are", large->rows),
				 psprintf("%d were asked for, and nothing lies behind those that came.", asked), NULL);
	}

	if (second->fault == NULL && second->rows > 0 && second->total != first->total)
		later = second;
	else if (large->fault == NULL && large->total != first->total)
		later = large;
	if (first->total < 0)
		note(diagnosis, "total", TOLD, "not sent", "No header X-Total-Count came.",
			 "It is recommended, not required. Without it the end of a list is proved by an empty page alone.");
	else if (later != NULL)
		note(diagnosis, "total", NOT_AS_IT_SHOULD, later->total < 0 ? "not on each page" : "changes",
			 later->total < 0 ? psprintf("X-Total-Count was " INT64_FORMAT " and was missing on a later page.", first->total)
			 : psprintf("X-Total-Count was " INT64_FORMAT " and on a later page " INT64_FORMAT ".", first->total, later->total),
			 "Ask the SIS vendor why, unless somebody was working in the SIS meanwhile.");
	else
		note(diagnosis, "total", AS_IT_SHOULD, psprintf(INT64_FORMAT, first->total), "X-Total-Count is sent and was the same on each page.", NULL);

	if (large->fault == NULL)
		note(diagnosis, "time of a large page", TOLD, milliseconds(large->elapsed_us), psprintf("It held %d rows.", large->rows), NULL);
}

static void
diagnose_sort(Diagnosis *diagnosis, const ProbePage *rising)
{
	ProbePage  *falling;
	bool		is_refused = diagnosis->client->facts.no_sort;

	if (is_refused || rising->ids_count < 2)
	{
		note(diagnosis, "sort", TOLD, is_refused ? "not tried" : "not known",
			 is_refused ? "The SIS refuses requests that name an order." : "The list has fewer than two rows.", NULL);
		return;
	}
	falling = ask_small(diagnosis, psprintf("limit=%d&offset=0", SMALL_PAGE), "desc");
	if (falling->fault != NULL)
		note_fault(diagnosis, "sort", NOT_AS_IT_SHOULD, "refused", falling->fault);
	else if (same_ids(rising, falling))
		note(diagnosis, "sort", NOT_AS_IT_SHOULD, "ignored",
			 "sort=sourcedId gives the same rows with orderBy=asc and orderBy=desc.",
			 "Pages of a list without a stable order may repeat and leave out rows while it changes: ask the SIS vendor.");
	else if (in_order(rising, 1) && in_order(falling, -1))
		note(diagnosis, "sort", AS_IT_SHOULD, "honoured", "By sourcedId, rising and falling.", NULL);
	else if (in_order(rising, -1) && in_order(falling, 1))
		note(diagnosis, "sort", NOT_AS_IT_SHOULD, "reversed", "orderBy=asc gives falling sourcedIds, orderBy=desc rising ones.",
			 "Either order is stable, so that lists can be read; tell the SIS vendor.");
	else
		note(diagnosis, "sort", NOT_AS_IT_SHOULD, "in an order of its own",
			 "orderBy changes which rows come first, but they are not in the order of their sourcedIds.",
			 "Ask the SIS vendor which order it is, and whether it is stable while the list changes.");
}

/* The same page again, which also says what an idle moment of the SIS is like. */
static void
diagnose_repetition(Diagnosis *diagnosis, const ProbePage *first)
{
	ProbePage  *again = ask_small(diagnosis, psprintf("limit=%d&offset=0", SMALL_PAGE), "asc");

	if (again->fault != NULL)
		note_fault(diagnosis, "the same page again", NOT_AS_IT_SHOULD, "refused", again->fault);
	else if (same_ids(first, again))
		note(diagnosis, "the same page again", AS_IT_SHOULD, "the same rows", NULL, NULL);
	else
		note(diagnosis, "the same page again", NOT_AS_IT_SHOULD, "other rows",
			 "The first page, asked for twice, holds other rows or another order the second time.",
			 "Unless people were entered meanwhile, the order of the list is not stable: ask the SIS vendor.");
}

static void
diagnose_clock(Diagnosis *diagnosis, const ProbePage *first)
{
	int64		apart = first->clock_ahead < 0 ? -first->clock_ahead : first->clock_ahead;

	if (!first->clock_known)
		note(diagnosis, "clock", TOLD, "not known", "No header Date came.", NULL);
	else if (apart * USECS_PER_SEC <= CLOCK_TOLERANCE_US + first->elapsed_us)
		note(diagnosis, "clock", AS_IT_SHOULD, "agrees", "The header Date is less than a minute from the clock of the database server.", NULL);
	else
		note(diagnosis, "clock", NOT_AS_IT_SHOULD, psprintf(INT64_FORMAT " seconds %s", apart, first->clock_ahead < 0 ? "behind" : "ahead"),
			 "The header Date is that far from the clock of the database server.",
			 "Requests that are signed are refused where clocks differ by minutes. The DBA checks the database server's clock; if that is right, tell the SIS vendor.");
}

static void
diagnose_fields(Diagnosis *diagnosis, const ProbePage *first)
{
	if (diagnosis->client->facts.no_fields)
		note(diagnosis, "fields", TOLD, "not tried", "The SIS refuses requests that name fields.", NULL);
	else if (first->named > 0)
		note(diagnosis, "fields", TOLD, "ignored", "Rows came with more than the fields that were asked for.",
			 "Whatever else rows hold is neither kept nor looked at; sending less is faster and safer: tell the SIS vendor.");
	else
		note(diagnosis, "fields", AS_IT_SHOULD, "honoured", "No name came where none was asked for.", NULL);
}

/* One filter that nobody can satisfy. */
static void
diagnose_impossible_filter(Diagnosis *diagnosis, const char *finding, const char *filter, const char *ignored_detail, const char *ignored_hint)
{
	ProbePage  *page;

	if (strstr(diagnosis->path, "filter=") != NULL)
	{
		note(diagnosis, finding, TOLD, "not tried", "The list examined is one that a filter gives.", NULL);
		return;
	}
	page = ask_small(diagnosis, psprintf("limit=%d&offset=0&filter=%s", SMALL_PAGE, filter), "asc");
	if (page->fault != NULL)
		note_fault(diagnosis, finding, page->denied ? TOLD : NOT_AS_IT_SHOULD, page->denied ? "not known" : "refused", page->fault);
	else if (page->rows > 0)
		note(diagnosis, finding, NOT_AS_IT_SHOULD, "ignored", ignored_detail, ignored_hint);
	else
		note(diagnosis, finding, AS_IT_SHOULD, "honoured", "Where nobody fits, nobody is listed.", NULL);
}

static void
diagnose_filters(Diagnosis *diagnosis)
{
	RosterCollection users = {.name = "users"};
	ProbePage  *page = ask(diagnosis, &users, "/users",
						   psprintf("limit=%d&offset=0&filter=%s='teacher'", ROLE_PAGE, diagnosis->is_1_2 ? "roles.role" : "role"),
						   "asc", "teacher");

	if (page->fault != NULL)
		note_fault(diagnosis, "filter by role", page->denied ? TOLD : NOT_AS_IT_SHOULD, page->denied ? "not known" : "refused", page->fault);
	else if (page->other_roles > 0)
		note(diagnosis, "filter by role", NOT_AS_IT_SHOULD, "ignored",
			 psprintf("Of the first %d users with role='teacher', %d have another role.", page->rows, page->other_roles),
			 "Filters are checked again here, so that nobody is taken for what he is not; but all users are sent. Ask the SIS vendor.");
	else if (page->rows == 0)
		note(diagnosis, "filter by role", TOLD, "nobody found", "/users with role='teacher' lists nobody.",
			 "Where the key may see teachers, ask the SIS vendor.");
	else
		note(diagnosis, "filter by role", AS_IT_SHOULD, "honoured", psprintf("Each of the first %d has the role.", page->rows), NULL);

	diagnose_impossible_filter(diagnosis, "filter by date", NO_DATE,
							   "dateLastModified> a day in the year 9999 lists people.",
							   "So it cannot be asked what has changed, and each fetch reads the whole list. Ask the SIS vendor.");
	diagnose_impossible_filter(diagnosis, "filter with AND", "status='active' AND " NO_DATE,
							   "Two predicates with AND list people although nobody fits the second.",
							   "The SIS ignores a predicate or takes AND for OR: ask the SIS vendor.");
}

static int
compare_times(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

static void
note_time(Diagnosis *diagnosis)
{
	int			count = diagnosis->small_count;

	if (count == 0)
		return;
	qsort(diagnosis->small_us, count, sizeof(int64), compare_times);
	note(diagnosis, "time of a small page", TOLD, milliseconds(diagnosis->small_us[count / 2]),
		 psprintf("Median of %d pages of up to %d rows, from %s to %s.", count, SMALL_PAGE,
				  milliseconds(diagnosis->small_us[0]), milliseconds(diagnosis->small_us[count - 1])), NULL);
}

/* The preset's lists of guardians, wanted by the connection or not.  palloc'd. */
static List *
load_contact_collections(Diagnosis *diagnosis)
{
	List	   *collections = NIL;
	Oid			types[] = {TEXTOID};
	Datum		values[1];

	begin_worker_transaction();
	values[0] = CStringGetTextDatum(diagnosis->connection->collections);
	SPI_execute_with_args("SELECT e->>'collection', e->>'path', minga_roster_internal.fallbacks_of(e)"
						  " FROM pg_catalog.jsonb_array_elements($1::jsonb) AS e WHERE e->>'family' = 'contact'",
						  1, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext transaction = MemoryContextSwitchTo(diagnosis->context);
		RosterCollection *collection = palloc0(sizeof(RosterCollection));
		char	  **texts[] = {&collection->name, &collection->path};
		bool		isnull;

		for (int column = 0; column < lengthof(texts); column++)
		{
			char	   *value = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column + 1);

			*texts[column] = value == NULL ? NULL : MemoryContextStrdup(diagnosis->context, value);
		}
		collection->fallbacks = text_array(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3, &isnull), NULL);
		collections = lappend(collections, collection);
		MemoryContextSwitchTo(transaction);
	}
	commit_worker_transaction();
	return collections;
}

/* Whether guardians are shared, although the connection may not want them yet. */
static void
diagnose_guardians(Diagnosis *diagnosis)
{
	List	   *collections = load_contact_collections(diagnosis);
	ListCell   *cell;

	foreach(cell, collections)
	{
		RosterCollection *collection = lfirst(cell);
		char	   *finding = psprintf("list of %s", collection->name);
		ProbePage  *page = ask(diagnosis, collection, collection_path(diagnosis->connection, collection->path), "limit=1&offset=0", "asc", NULL);

		for (char **fallback = collection->fallbacks; page->denied && *fallback != NULL; fallback++)
			page = ask(diagnosis, collection, collection_path(diagnosis->connection, *fallback), "limit=1&offset=0",
					   "asc", NULL);
		if (page->fault != NULL)
			note_fault(diagnosis, finding, page->denied ? TOLD : NOT_AS_IT_SHOULD, page->denied ? "denied" : "not readable", page->fault);
		else if (page->rows == 0)
			note(diagnosis, finding, TOLD, "empty", NULL, "Where primary parent contacts are wanted, the district's SIS administrator shares guardians with this connection.");
		else
			note(diagnosis, finding, AS_IT_SHOULD, page->total > 0 ? psprintf(INT64_FORMAT " in the district", page->total) : "readable", NULL, NULL);
	}
}

/* Reads the roster as a fetch does; false where a fault of the SIS, which is a finding, stopped it. */
static bool
read_whole(Diagnosis *diagnosis)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;
	TimestampTz started = GetCurrentTimestamp();

	PG_TRY();
	{
		fetch_roster(diagnosis->connection, diagnosis->run);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(diagnosis->context);
		error = CopyErrorData();
		/* A cancel, and what the server itself ran into, is no finding. */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || strcmp(error->domain, TEXTDOMAIN) != 0)
			PG_RE_THROW();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);

	if (error != NULL)
		note(diagnosis, "whole read", NOT_AS_IT_SHOULD, "broken off", fault_sentences(error->message, error->detail), error->hint);
	else
		note(diagnosis, "whole read", AS_IT_SHOULD, psprintf(INT64_FORMAT " rows in %d pages", diagnosis->run->rows_staged, diagnosis->run->pages),
			 psprintf("In %s.", milliseconds(GetCurrentTimestamp() - started)), NULL);
	return error == NULL;
}

/* What is known of how the SIS has to be asked, from this read too: findings by SQL. */
static void
note_facts(Diagnosis *diagnosis)
{
	Oid			types[] = {INT8OID, INT4OID};
	Datum		values[2];
	bool		isnull;

	begin_worker_transaction();
	values[0] = Int64GetDatum(diagnosis->run->run);
	values[1] = Int32GetDatum(diagnosis->position);
	SPI_execute_with_args("SELECT minga_roster_internal.store_facts($1, $2)", 2, types, values, NULL, false, 1);
	diagnosis->position = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	commit_worker_transaction();
}

/* What the stage says of the rows: findings by SQL. */
static void
note_statistics(Diagnosis *diagnosis)
{
	Oid			types[] = {INT8OID, INT4OID};
	Datum		values[2];

	begin_worker_transaction();
	values[0] = Int64GetDatum(diagnosis->run->run);
	values[1] = Int32GetDatum(diagnosis->position);
	SPI_execute_with_args("SELECT minga_roster_internal.store_statistics($1, $2)", 2, types, values, NULL, false, 0);
	commit_worker_transaction();
}

/*
 * Examines the SIS of the connection, with a row of findings for each thing
 * found.  Raises no fault of the SIS.  Not inside a transaction.
 */
void
diagnose_connection(RosterConnection *connection, RosterRun *run)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "minga_roster diagnosis", ALLOCSET_DEFAULT_SIZES);
	Diagnosis	diagnosis = {.connection = connection,.run = run,.context = context};
	ProbePage  *first;
	bool		read_it;

	set_phase(run, "fetch");
	MemoryContextSwitchTo(context);
	diagnosis.is_1_2 = strstr(connection->base_url, "/v1p2") != NULL;
	diagnosis.client = client_open(connection, run);
	load_facts(diagnosis.client);
	if (diagnose_token(&diagnosis))
	{
		first = choose_list(&diagnosis, load_collections(connection, run));
		if (first != NULL)
		{
			note(&diagnosis, "list examined", TOLD, diagnosis.examined->name, psprintf("Read from %s.", diagnosis.path), NULL);
			diagnose_paging(&diagnosis, first);
			diagnose_sort(&diagnosis, first);
			diagnose_fields(&diagnosis, first);
			diagnose_clock(&diagnosis, first);
			diagnose_filters(&diagnosis);
			diagnose_repetition(&diagnosis, first);
			note_time(&diagnosis);
			diagnose_guardians(&diagnosis);
		}
		read_it = read_whole(&diagnosis);
		note_facts(&diagnosis);
		if (read_it)
			note_statistics(&diagnosis);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
