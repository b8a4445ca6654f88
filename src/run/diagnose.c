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

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/connection.h"
#include "base/error.h"
#include "base/run_row.h"
#include "base/transaction.h"
#include "oneroster/attempt.h"
#include "oneroster/client.h"
#include "oneroster/endpoint.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/oauth2.h"
#include "oneroster/page.h"
#include "oneroster/proof.h"
#include "run/diagnose.h"
#include "run/fetch.h"
#include "run/probe.h"

#define ROLE_PAGE 100			/* and where a filter is to be caught */
#define SMALL_PAGES_MAX 16
#define CLOCK_TOLERANCE_US (60 * USECS_PER_SEC)
#define NO_DATE "dateLastModified>'9999-12-31T00:00:00.000Z'"

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
	RosterCollection *examined; /* the list that is looked at closely, and its path */
	const char *path;
	int64		small_us[SMALL_PAGES_MAX];	/* how long small pages took */
	int			small_count;
} Diagnosis;

/* Writes a finding, in a transaction of its own.  detail and hint may be NULL. */
static void
note(Diagnosis *diagnosis, const char *finding, Verdict verdict, const char *value, const char *detail,
	 const char *hint)
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
	SPI_execute_with_args("INSERT INTO minga_roster.findings (run, position, finding, value, ok, detail, hint) VALUES "
						  "($1, $2, $3, $4, $5, $6, $7)",
						  7, types, values, nulls, false, 0);
	store_progress(diagnosis->run, true);
	commit_worker_transaction();
}

static void
note_fault(Diagnosis *diagnosis, const char *finding, Verdict verdict, const char *value, const RosterFault *fault)
{
	note(diagnosis, finding, verdict, value, fault_sentences(fault, false), fault->hint);
}

static char *
milliseconds(int64 us)
{
	return psprintf(INT64_FORMAT " ms", Max((us + 500) / 1000, 1));
}

/* A small page of the list that is examined; its time counts. */
static ProbePage *
ask_small(Diagnosis *diagnosis, const char *query, const char *order)
{
	ProbePage  *page = probe_page(diagnosis->client, diagnosis->examined, diagnosis->path, query, order, NULL);

	if (page->fault == NULL && diagnosis->small_count < SMALL_PAGES_MAX)
		diagnosis->small_us[diagnosis->small_count++] = page->elapsed_us;
	return page;
}

/* False where no token was given, or where nothing came of it. */
static bool
diagnose_token(Diagnosis *diagnosis)
{
	RosterClient *client = diagnosis->client;
	TimestampTz started = GetCurrentTimestamp();
	RosterFault *fault = authorize(&client->authorization, true);
	char	   *took = milliseconds(GetCurrentTimestamp() - started);

	if (fault != NULL)
	{
		note_fault(diagnosis, "token", NOT_AS_IT_SHOULD, "none given", fault);
		return false;
	}
	if (client->connection->auth != AUTH_OAUTH2)
		note(diagnosis, "token", TOLD, "none asked for",
			 client->connection->auth == AUTH_BEARER ? "The client secret is the token."
			 : "Each request is signed with the client secret.", NULL);
	else if (client->authorization.token_lifetime > 0)
		note(diagnosis, "token", AS_IT_SHOULD, psprintf("%d seconds", client->authorization.token_lifetime),
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

	reader_of_rows(&reader, diagnosis->connection, diagnosis->examined);
	reader.path = diagnosis->path;
	return find_out_refusal(diagnosis->client, &reader, page_size_for(&diagnosis->client->facts), false);
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

		if (collection->kind != PAGE_USERS)
			continue;
		for (const char *template = collection->path; template != NULL; template = *fallbacks++)
		{
			ProbePage  *page;

			diagnosis->examined = collection;
			diagnosis->path = collection_path(diagnosis->connection, template);
			page = ask_small(diagnosis, psprintf("limit=%d&offset=0", PROBE_ROWS), "asc");
			if (page->refused && is_had_with_less(diagnosis))
				page = ask_small(diagnosis, psprintf("limit=%d&offset=0", PROBE_ROWS), "asc");
			if (page->fault == NULL && page->rows > 0)
				return page;
			if (page->fault == NULL)
				note(diagnosis, psprintf("list of %s", collection->name), TOLD, "empty", NULL,
					 "If the school has such people, ask the district's SIS administrator to share them with this "
					 "connection.");
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
	bool		all_seen = first->total >= 0 ? first->rows >= first->total : first->rows < PROBE_ROWS;

	second = ask_small(diagnosis, psprintf("limit=%d&offset=%d", PROBE_ROWS, first->rows), "asc");
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
			 "Rows that come twice stand in the place of others that do not come: ask the SIS vendor for a stable "
			 "order.");
	else
		note(diagnosis, "offset", AS_IT_SHOULD, "honored",
			 second->rows > 0 ? psprintf("The pages at offset 0 and %d have no row in common.", first->rows)
			 : "The page behind the last row is empty.", NULL);

	large = probe_page(diagnosis->client, diagnosis->examined, diagnosis->path, psprintf("limit=%d&offset=0", asked),
					   "asc", NULL);
	if (large->fault != NULL)
		note_fault(diagnosis, "page size", NOT_AS_IT_SHOULD, psprintf("%d refused", asked), large->fault);
	else if (large->rows >= asked)
		note(diagnosis, "page size", AS_IT_SHOULD, psprintf("%d rows", large->rows),
			 "As many rows came as were asked for.", NULL);
	else if (first->total >= 0 ? large->rows >= first->total : large->rows < first->rows)
		note(diagnosis, "page size", AS_IT_SHOULD, psprintf("%d rows, all there are", large->rows),
			 psprintf("%d were asked for, and the whole list came in one page.", asked), NULL);
	else
	{
		ProbePage  *rest = ask_small(diagnosis, psprintf("limit=%d&offset=%d", PROBE_ROWS, large->rows), "asc");

		if (rest->fault == NULL && rest->rows > 0)
			note(diagnosis, "page size", TOLD, psprintf("%d rows at most", large->rows),
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
			 later->total < 0 ? psprintf("X-Total-Count was " INT64_FORMAT " and was missing on a later page.",
										 first->total)
			 : psprintf("X-Total-Count was " INT64_FORMAT " and on a later page " INT64_FORMAT ".", first->total,
						later->total),
			 "Ask the SIS vendor why, unless someone was working in the SIS in the meantime.");
	else
		note(diagnosis, "total", AS_IT_SHOULD, psprintf(INT64_FORMAT, first->total),
			 "X-Total-Count is sent and was the same on each page.", NULL);

	if (large->fault == NULL)
		note(diagnosis, "time of a large page", TOLD, milliseconds(large->elapsed_us),
			 psprintf("It held %d rows.", large->rows), NULL);
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
	falling = ask_small(diagnosis, psprintf("limit=%d&offset=0", PROBE_ROWS), "desc");
	if (falling->fault != NULL)
		note_fault(diagnosis, "sort", NOT_AS_IT_SHOULD, "refused", falling->fault);
	else if (same_ids(rising, falling))
		note(diagnosis, "sort", NOT_AS_IT_SHOULD, "ignored",
			 "sort=sourcedId gives the same rows with orderBy=asc and orderBy=desc.",
			 "Pages of a list without a stable order may repeat and leave out rows while it changes: ask the SIS "
			 "vendor.");
	else if (in_order(rising, 1) && in_order(falling, -1))
		note(diagnosis, "sort", AS_IT_SHOULD, "honored", "By sourcedId, rising and falling.", NULL);
	else if (in_order(rising, -1) && in_order(falling, 1))
		note(diagnosis, "sort", NOT_AS_IT_SHOULD, "reversed",
			 "orderBy=asc gives falling sourcedIds, orderBy=desc rising ones.",
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
	ProbePage  *again = ask_small(diagnosis, psprintf("limit=%d&offset=0", PROBE_ROWS), "asc");

	if (again->fault != NULL)
		note_fault(diagnosis, "the same page again", NOT_AS_IT_SHOULD, "refused", again->fault);
	else if (same_ids(first, again))
		note(diagnosis, "the same page again", AS_IT_SHOULD, "the same rows", NULL, NULL);
	else
		note(diagnosis, "the same page again", NOT_AS_IT_SHOULD, "other rows",
			 "The first page, asked for twice, holds other rows or another order the second time.",
			 "Unless people were added in the meantime, the order of the list is not stable: ask the SIS vendor.");
}

static void
diagnose_clock(Diagnosis *diagnosis, const ProbePage *first)
{
	int64		apart = first->clock_ahead < 0 ? -first->clock_ahead : first->clock_ahead;

	if (!first->clock_known)
		note(diagnosis, "clock", TOLD, "not known", "No header Date came.", NULL);
	else if (apart * USECS_PER_SEC <= CLOCK_TOLERANCE_US + first->elapsed_us)
		note(diagnosis, "clock", AS_IT_SHOULD, "agrees", "The header Date is less than a minute from the clock of the "
			 "database server.", NULL);
	else
		note(diagnosis, "clock", NOT_AS_IT_SHOULD,
			 psprintf(INT64_FORMAT " seconds %s", apart, first->clock_ahead < 0 ? "behind" : "ahead"),
			 "The header Date is that far from the clock of the database server.",
			 "Signed requests are refused when the clocks differ by minutes. Ask the DBA to check the database "
			 "server's clock; if it is right, tell the SIS vendor.");
}

static void
diagnose_fields(Diagnosis *diagnosis, const ProbePage *first)
{
	if (diagnosis->client->facts.no_fields)
		note(diagnosis, "fields", TOLD, "not tried", "The SIS refuses requests that name fields.", NULL);
	else if (first->named > 0)
		note(diagnosis, "fields", TOLD, "ignored", "Rows came with more than the fields that were asked for.",
			 "Other fields are neither read nor stored. Sending less is faster and safer: tell the SIS vendor.");
	else
		note(diagnosis, "fields", AS_IT_SHOULD, "honored", "No name came where none was asked for.", NULL);
}

/* One filter that no one can satisfy. */
static void
diagnose_impossible_filter(Diagnosis *diagnosis, const char *finding, const char *filter, const char *ignored_detail,
						   const char *ignored_hint)
{
	ProbePage  *page;

	if (strstr(diagnosis->path, "filter=") != NULL)
	{
		note(diagnosis, finding, TOLD, "not tried", "The list examined is one that a filter gives.", NULL);
		return;
	}
	page = ask_small(diagnosis, psprintf("limit=%d&offset=0&filter=%s", PROBE_ROWS, filter), "asc");
	if (page->fault != NULL)
		note_fault(diagnosis, finding, page->denied ? TOLD : NOT_AS_IT_SHOULD, page->denied ? "not known" : "refused",
				   page->fault);
	else if (page->rows > 0)
		note(diagnosis, finding, NOT_AS_IT_SHOULD, "ignored", ignored_detail, ignored_hint);
	else
		note(diagnosis, finding, AS_IT_SHOULD, "honored", "The filter matches no one, and no one is listed.", NULL);
}

static void
diagnose_filters(Diagnosis *diagnosis)
{
	RosterCollection users = {.name = "users"};
	ProbePage  *page = probe_page(diagnosis->client, &users, "/users",
								  psprintf("limit=%d&offset=0&filter=%s='teacher'", ROLE_PAGE,
										   is_1_2(diagnosis->connection) ? "roles.role" : "role"),
								  "asc", "teacher");

	if (page->fault != NULL)
		note_fault(diagnosis, "filter by role", page->denied ? TOLD : NOT_AS_IT_SHOULD, page->denied ? "not known"
				   : "refused", page->fault);
	else if (page->other_roles > 0)
		note(diagnosis, "filter by role", NOT_AS_IT_SHOULD, "ignored",
			 psprintf("Of the first %d users with role='teacher', %d have another "
					  "role.", page->rows, page->other_roles),
			 "Filters are checked again here, so no one gets a wrong role, but the SIS sends all users. Ask the SIS "
			 "vendor to honor the filter.");
	else if (page->rows == 0)
		note(diagnosis, "filter by role", TOLD, "no one found", "/users with role='teacher' lists no one.",
			 "Where the key may see teachers, ask the SIS vendor.");
	else
		note(diagnosis, "filter by role", AS_IT_SHOULD, "honored",
			 psprintf("Each of the first %d has the role.", page->rows), NULL);

	diagnose_impossible_filter(diagnosis, "filter by date", NO_DATE,
							   "dateLastModified> a day in the year 9999 lists people.",
							   "So it cannot be asked what has changed, and each fetch reads the whole list. Ask the "
							   "SIS vendor.");
	diagnose_impossible_filter(diagnosis, "filter with AND", "status='active' AND " NO_DATE,
							   "Two predicates with AND list people although no one matches the second.",
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
		 psprintf("Median of %d pages of up to %d rows, from %s to %s.", count, PROBE_ROWS,
				  milliseconds(diagnosis->small_us[0]), milliseconds(diagnosis->small_us[count - 1])), NULL);
}

/* Whether guardians are shared, although the connection may not want them yet. */
static void
diagnose_guardians(Diagnosis *diagnosis)
{
	List	   *collections = load_contact_collections(diagnosis->connection);
	ListCell   *cell;

	foreach(cell, collections)
	{
		RosterCollection *collection = lfirst(cell);
		char	   *finding = psprintf("list of %s", collection->name);
		ProbePage  *page = probe_page(diagnosis->client, collection,
									  collection_path(diagnosis->connection, collection->path), "limit=1&offset=0",
									  "asc", NULL);

		for (char **fallback = collection->fallbacks; page->denied && *fallback != NULL; fallback++)
			page = probe_page(diagnosis->client, collection, collection_path(diagnosis->connection, *fallback),
							  "limit=1&offset=0",
							  "asc", NULL);
		if (page->fault != NULL)
			note_fault(diagnosis, finding, page->denied ? TOLD : NOT_AS_IT_SHOULD, page->denied ? "denied"
					   : "not readable", page->fault);
		else if (page->rows == 0)
			note(diagnosis, finding, TOLD, "empty", NULL, "To get primary parent contacts, ask the district's SIS "
				 "administrator to share guardians with this connection.");
		else
			note(diagnosis, finding, AS_IT_SHOULD, page->total > 0 ?
				 psprintf(INT64_FORMAT " in the district", page->total) : "readable", NULL, NULL);
	}
}

/* Whether evenings with delta get what changed in classes and the like, or have to read each list whole. */
static void
diagnose_filters_of_objects(Diagnosis *diagnosis, List *collections)
{
	ListCell   *cell;

	foreach(cell, collections)
	{
		RosterCollection *collection = lfirst(cell);
		char	   *finding = psprintf("filter by date in %s", collection->name);
		char	   *hint = psprintf("Evenings with delta read all %s. Ask the SIS vendor to support the filter.",
									collection->name);
		ProbePage  *page;

		if (collection->kind <= PAGE_ORGS || collection->instead_of != NULL)
			continue;
		page = probe_page(diagnosis->client, collection, collection_path(diagnosis->connection, collection->path),
						  psprintf("limit=%d&offset=0&filter=" NO_DATE, PROBE_ROWS), "asc", NULL);
		for (char **fallback = collection->fallbacks; page->denied && *fallback != NULL; fallback++)
			page = probe_page(diagnosis->client, collection, collection_path(diagnosis->connection, *fallback),
							  psprintf("limit=%d&offset=0&filter=" NO_DATE, PROBE_ROWS), "asc", NULL);
		if (page->denied)
			note_fault(diagnosis, finding, TOLD, "not known", page->fault);
		else if (page->fault != NULL)
			note(diagnosis, finding, NOT_AS_IT_SHOULD, "refused", fault_sentences(page->fault, false), hint);
		else if (page->rows > 0)
			note(diagnosis, finding, NOT_AS_IT_SHOULD, "ignored",
				 "dateLastModified> a day in the year 9999 lists rows.", hint);
		else
			note(diagnosis, finding, AS_IT_SHOULD, "honored", NULL, NULL);
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
		Fetch	   *fetch;

		begin_worker_steps();
		fetch = fetch_begin(diagnosis->connection, diagnosis->run);
		commit_worker_transaction();
		fetch_roster(fetch);
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

	store_collections(diagnosis->run);
	if (error != NULL)
		note(diagnosis, "full read", NOT_AS_IT_SHOULD, "broken off", fault_sentences_of_error(error), error->hint);
	else
		note(diagnosis, "full read", AS_IT_SHOULD,
			 psprintf(INT64_FORMAT " rows in %d pages", diagnosis->run->rows_staged, diagnosis->run->pages),
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
	List	   *collections;
	ProbePage  *first;
	bool		read_it;

	set_phase(run, "fetch");
	MemoryContextSwitchTo(context);
	diagnosis.client = client_open(connection, run);
	load_facts(&diagnosis.client->facts);
	if (diagnose_token(&diagnosis))
	{
		collections = load_collections(connection, run);
		first = choose_list(&diagnosis, collections);
		if (first != NULL)
		{
			note(&diagnosis, "list examined", TOLD, diagnosis.examined->name,
				 psprintf("Read from %s.", diagnosis.path), NULL);
			diagnose_paging(&diagnosis, first);
			diagnose_sort(&diagnosis, first);
			diagnose_fields(&diagnosis, first);
			diagnose_clock(&diagnosis, first);
			diagnose_filters(&diagnosis);
			diagnose_repetition(&diagnosis, first);
			note_time(&diagnosis);
			diagnose_guardians(&diagnosis);
			diagnose_filters_of_objects(&diagnosis, collections);
		}
		read_it = read_whole(&diagnosis);
		note_facts(&diagnosis);
		if (read_it)
			note_statistics(&diagnosis);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
