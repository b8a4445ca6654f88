/*
 * test_connection.c
 *	  Tries a connection step by step, and says of each what was found and, where
 *	  it failed, why and whose turn it is.
 *
 * Steps build on each other up to the school: after one that failed, those behind it are not reached.
 * Collections are tried each for itself.  The last step, the people relation, is the worker's to take.  Each step
 * is in run_steps as soon as it is over, so that a waiting caller sees it.  No fault of the SIS is raised, and
 * nothing is staged.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/connection.h"
#include "base/run_row.h"
#include "base/settings.h"
#include "base/transaction.h"
#include "net/address.h"
#include "net/http.h"
#include "net/transfer.h"
#include "net/url.h"
#include "oneroster/attempt.h"
#include "oneroster/client.h"
#include "oneroster/endpoint.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/http_fault.h"
#include "oneroster/oauth2.h"
#include "oneroster/page.h"
#include "oneroster/page_request.h"
#include "oneroster/request.h"
#include "oneroster/row_values.h"
#include "oneroster/schools.h"
#include "oneroster/scope.h"
#include "run/test_connection.h"

#define PROBE_MAX_BYTES (1024 * 1024)
#define ROWS_ASKED 100			/* of a collection */

typedef struct ConnectionTest
{
	RosterConnection *connection;
	RosterRun  *run;
	RosterClient *client;
	int			position;		/* of the step that is under way */
	TimestampTz started_at;		/* that step */
} ConnectionTest;

/* Writes the names of all steps, not reached yet, in a transaction of its own. */
static void
announce_steps(ConnectionTest *test, List *collections)
{
	static const char *const first_steps[] = {"url", "dns", "tls", "token", "school"};
	Oid			types[] = {INT8OID, INT4OID, TEXTOID};
	int			count = lengthof(first_steps) + list_length(collections) + 1;

	begin_worker_transaction();
	for (int i = 0; i < count; i++)
	{
		const char *name = i < lengthof(first_steps) ? first_steps[i] : i == count - 1 ? "people"
		: ((RosterCollection *) list_nth(collections, i - lengthof(first_steps)))->name;
		Datum		values[] = {Int64GetDatum(test->run->run), Int32GetDatum(i + 1), CStringGetTextDatum(name)};

		SPI_execute_with_args("INSERT INTO minga_roster.run_steps (run, position, step) VALUES ($1, $2, $3)",
							  3, types, values, NULL, false, 0);
	}
	commit_worker_transaction();
}

static void
begin_step(ConnectionTest *test)
{
	test->position++;
	test->started_at = GetCurrentTimestamp();
}

/*
 * Writes what the step under way came to.  elapsed_us: -1 for the time since
 * begin_step.  hint may be NULL.
 */
static void
end_step(ConnectionTest *test, bool ok, const char *detail, const char *hint, int64 elapsed_us)
{
	Oid			types[] = {INT8OID, INT4OID, BOOLOID, TEXTOID, TEXTOID, INTERVALOID};
	Interval   *elapsed = palloc0(sizeof(Interval));
	Datum		values[6];
	char		nulls[] = "      ";

	elapsed->time = elapsed_us >= 0 ? elapsed_us : GetCurrentTimestamp() - test->started_at;
	begin_worker_transaction();
	values[0] = Int64GetDatum(test->run->run);
	values[1] = Int32GetDatum(test->position);
	values[2] = BoolGetDatum(ok);
	values[3] = CStringGetTextDatum(detail);
	if (hint == NULL)
		nulls[4] = 'n';
	else
		values[4] = CStringGetTextDatum(hint);
	values[5] = IntervalPGetDatum(elapsed);
	SPI_execute_with_args("UPDATE minga_roster.run_steps SET ok = $3, detail = $4, hint = $5, elapsed = $6 WHERE run "
						  "= $1 AND position = $2",
						  6, types, values, nulls, false, 0);
	store_progress(test->run, false);
	commit_worker_transaction();
}

static void
end_step_with_fault(ConnectionTest *test, const RosterFault *fault)
{
	end_step(test, false, fault_sentences(fault, true), fault->hint, -1);
}

/* "1,204" */
static char *
grouped(int64 count)
{
	char		digits[32];
	StringInfoData text;
	int			len = snprintf(digits, sizeof(digits), INT64_FORMAT, count);

	initStringInfo(&text);
	for (int i = 0; i < len; i++)
	{
		if (i > 0 && (len - i) % 3 == 0)
			appendStringInfoChar(&text, ',');
		appendStringInfoChar(&text, digits[i]);
	}
	return text.data;
}

/* Whether the URLs are URLs, and of the kind that is allowed.  Without a token URL *token stays empty. */
static bool
test_url(ConnectionTest *test, UrlParts *base, UrlParts *token)
{
	const char *urls[] = {test->connection->base_url, test->connection->token_url};
	UrlParts   *parts[] = {base, token};
	char	   *hint = psprintf("Copy base URL and token URL from the SIS again and set them with SELECT "
								"minga_roster.roster_configure(%s, url => '...').",
								quote_literal_cstr(test->connection->name));

	begin_step(test);
	for (int i = 0; i < lengthof(urls) && urls[i] != NULL; i++)
	{
		const char *why;
		char	   *refusal;

		if (!url_parse(urls[i], parts[i], &why))
		{
			end_step(test, false, psprintf("\"%s\" is no URL: %s.", urls[i], why), hint, -1);
			return false;
		}
		if (strcmp(parts[i]->scheme, "https") != 0 && !(roster_insecure_loopback && url_is_loopback(parts[i])))
		{
			end_step(test, false, psprintf("\"%s\" begins with %s; a roster travels over https "
										   "only.", urls[i], parts[i]->scheme), hint, -1);
			return false;
		}
		refusal = host_refusal(parts[i]->host, url_port(parts[i]));
		if (refusal != NULL)
		{
			end_step(test, false, psprintf("Connections to \"%s\" are not allowed. %s", parts[i]->host, refusal),
					 host_hint(parts[i]->host, url_port(parts[i])), -1);
			return false;
		}
	}
	end_step(test, true, urls[1] == NULL ? psprintf("Roster from %s.", urls[0])
			 : psprintf("Roster from %s, token from %s.", urls[0], urls[1]), NULL, -1);
	return true;
}

/* One request without credentials, to see how far it gets. */
static HttpResponse *
probe_host(ConnectionTest *test, const char *url)
{
	HttpRequest request = {.url = url,.max_bytes = PROBE_MAX_BYTES};
	HttpResponse *response = palloc0(sizeof(HttpResponse));

	request_try(&test->client->requester, &request, response);
	http_release(response);
	return response;
}

static bool
is_resolved(const HttpResponse *response)
{
	return response->fault != TRANSFER_DNS && response->fault != TRANSFER_FORBIDDEN &&
		!(response->fault == TRANSFER_TIMEOUT && response->resolved_us == 0);
}

/* Whether the host answers, and has shown itself to be the right one. */
static bool
is_reached(const UrlParts *url, const HttpResponse *response)
{
	if (response->fault == TRANSFER_OK || response->fault == TRANSFER_TOO_LARGE)
		return true;
	switch (response->fault)
	{
		case TRANSFER_TLS:
		case TRANSFER_TRUST:
		case TRANSFER_UNREACHABLE:
		case TRANSFER_PROXY:
		case TRANSFER_PROXY_REFUSED:
			return false;
		default:
			break;
	}
	return strcmp(url->scheme, "https") == 0 ? response->secured_us > 0 : response->connected_us > 0;
}

/* The steps dns and tls, for the host of the roster and that of the token. */
static bool
test_hosts(ConnectionTest *test, const UrlParts *base, const UrlParts *token)
{
	const UrlParts *urls[] = {base, token};
	const char *addresses[] = {test->connection->base_url, test->connection->token_url};
	HttpResponse *responses[2];
	bool		same_host = (token->host == NULL ||
							 (strcmp(base->host, token->host) == 0 &&
							  strcmp(base->port != NULL ? base->port : "", token->port != NULL ? token->port
									 : "") == 0));
	int			hosts = same_host ? 1 : 2;
	int64		resolved_us = 0;
	int64		secured_us = 0;
	char	   *names = same_host ? base->host : psprintf("%s and %s", base->host, token->host);

	begin_step(test);
	for (int i = 0; i < hosts; i++)
		responses[i] = probe_host(test, addresses[i]);
	for (int i = 0; i < hosts; i++)
	{
		if (!is_resolved(responses[i]))
		{
			end_step_with_fault(test, http_transfer_fault(addresses[i], responses[i]));
			return false;
		}
		resolved_us += responses[i]->resolved_us;
	}
	end_step(test, true, psprintf("%s found.", names), NULL, resolved_us);

	begin_step(test);
	for (int i = 0; i < hosts; i++)
	{
		int64		end_us = Max(responses[i]->connected_us, responses[i]->secured_us);

		if (!is_reached(urls[i], responses[i]))
		{
			end_step_with_fault(test, http_transfer_fault(addresses[i], responses[i]));
			return false;
		}
		secured_us += end_us - Min(end_us, responses[i]->resolved_us);
	}
	end_step(test, true, strcmp(base->scheme, "https") == 0 ? psprintf("%s reached, the certificate is valid.", names)
			 : psprintf("%s reached by plain HTTP, which minga_roster.insecure_loopback allows.", names),
			 NULL, secured_us);
	return true;
}

static bool
test_token(ConnectionTest *test)
{
	RosterFault *fault;
	int64		seconds;

	begin_step(test);
	fault = authorize(&test->client->authorization, true);
	if (fault != NULL)
	{
		end_step_with_fault(test, fault);
		return false;
	}
	if (test->connection->auth != AUTH_OAUTH2)
	{
		end_step(test, true, test->connection->auth == AUTH_BEARER ?
				 "The client secret is the token; no other is asked for."
				 : "Each request is signed with the client secret; no token is asked for.", NULL, -1);
		return true;
	}
	seconds = (test->client->authorization.token_expires_at - GetCurrentTimestamp()) / USECS_PER_SEC;
	end_step(test, true, seconds > 0 ? psprintf("A token was given; it is kept for " INT64_FORMAT " seconds.", seconds)
			 : "A token was given.", NULL, -1);
	return true;
}

typedef struct FirstPage
{
	RowJudge	judge;
	int			here;
} FirstPage;

static void
take_user(void *taker, PageRow *row)
{
	FirstPage  *page = taker;

	if (!is_elsewhere(&page->judge, row))
		page->here++;
}

/* The fault of a page that was asked for, or of what came. */
static RosterFault *
first_page_fault(RosterFault *fault, PageReader *reader, HttpResponse *response)
{
	if (fault == NULL)
		fault = read_page(reader, response);
	if (fault == NULL && reader->bare)
		fault = page_without_rows(reader, "");
	return fault;
}

/* The first page of an endpoint; *denied: it answered that it is not there, or not shared. */
static RosterFault *
try_endpoint(ConnectionTest *test, RosterCollection *collection, const char *template,
			 FirstPage *page, PageReader *reader, int64 *total, bool *denied)
{
	char	   *path = collection_path(test->connection, template);
	HttpResponse *response;
	RosterFault *fault;
	int			limit;

	memset(page, 0, sizeof(FirstPage));
	page->judge.school_id = test->connection->school_id;
	page->judge.collection = collection;
	page->judge.school_scoped = is_school_scoped(template);
	reader_of_rows(reader, test->connection, collection);
	reader->path = path;
	reader->take_row = take_user;
	reader->taker = page;

	limit = Min(ROWS_ASKED, page_size_for(&test->client->facts));
	fault = get_page(test->client, path, reader->fields, limit, 0, 0, &response);
	fault = first_page_fault(fault, reader, response);
	if ((fault != NULL ? request_was_refused(response) : reader->rows == 0) &&
		find_out_refusal(test->client, reader, limit, fault == NULL))
	{
		page->here = 0;
		limit = Min(limit, page_size_for(&test->client->facts));
		fault = get_page(test->client, path, reader->fields, limit, 0, 0, &response);
		fault = first_page_fault(fault, reader, response);
	}
	*denied = (fault != NULL && request_was_denied(response));
	*total = response->total_count;
	return fault;
}

/* The path of the first list that has people of the school on its first page; NULL where none has. */
static const char *
list_of_school(ConnectionTest *test, List *collections)
{
	ListCell   *cell;

	foreach(cell, collections)
	{
		RosterCollection *collection = lfirst(cell);
		char	  **fallbacks = collection->fallbacks;

		if (collection->kind != PAGE_USERS || strcmp(collection->family, "contact") == 0)
			continue;
		for (const char *template = collection->path; template != NULL; template = *fallbacks++)
		{
			FirstPage	page;
			PageReader	reader;
			int64		total;
			bool		denied;

			if (try_endpoint(test, collection, template, &page, &reader, &total, &denied) == NULL && page.here > 0)
				return template;
			if (!denied)
				break;
		}
	}
	return NULL;
}

static bool
test_school(ConnectionTest *test, List *collections)
{
	SchoolList	schools;
	RosterFault *fault;

	begin_step(test);
	fault = read_schools(test->client, test->run, NULL, &schools);
	if (fault == NULL)
		fault = school_fault(&schools);
	if (fault != NULL)
	{
		end_step_with_fault(test, fault);
		return false;
	}
	if (schools.denied)
	{
		char	   *denial = schools.denied_status == 403 ? pstrdup("The key may not list schools") :
		psprintf("The SIS has no list of schools (it answered %d)", schools.denied_status);
		const char *shown_by = list_of_school(test, collections);

		/* Without it the School ID may be any, and each list be empty for that. */
		if (shown_by == NULL)
			end_step(test, false,
					 psprintf("%s, and no list that it gives has people of \"%s\": nothing shows that the School ID "
							  "is right.",
							  denial, test->connection->school_id),
					 "Compare the School ID with what the SIS shows to the school, or ask the district's SIS "
					 "administrator to share schools with this connection.", -1);
		else
			end_step(test, true, psprintf("%s, but %s lists people of \"%s\".", denial, shown_by,
										  test->connection->school_id),
					 "Ask the district's SIS administrator to share schools with this connection.", -1);
	}
	else
		end_step(test, true, psprintf("\"%s\" (%s) is one of %s schools that the key can see.",
									  schools.name != NULL ? schools.name : "", test->connection->school_id,
									  grouped(schools.count)),
				 NULL, -1);
	return true;
}

/* What came of the first page of a list, from whichever of its endpoints gave one. */
typedef struct TriedList
{
	FirstPage	page;
	PageReader	reader;
	int64		total;
	bool		denied;
	const char *read_from;
	RosterFault *fault;			/* NULL: there is a page */
	RosterFault *own_fault;		/* then that of the first endpoint, where another one gave it */
} TriedList;

static void
try_list(ConnectionTest *test, RosterCollection *collection, TriedList *tried)
{
	tried->own_fault = NULL;
	tried->read_from = collection->path;
	tried->fault = try_endpoint(test, collection, collection->path, &tried->page, &tried->reader, &tried->total,
								&tried->denied);
	for (char **fallback = collection->fallbacks; tried->fault != NULL && tried->denied && *fallback != NULL;
		 fallback++)
	{
		if (tried->own_fault == NULL)
			tried->own_fault = tried->fault;
		tried->read_from = *fallback;
		tried->fault = try_endpoint(test, collection, tried->read_from, &tried->page, &tried->reader, &tried->total,
									&tried->denied);
	}
}

/* "1,204 classes listed in the district; of the first 100, 80 are of this school and kept" */
static void
append_list(StringInfo detail, RosterCollection *collection, const TriedList *tried)
{
	int			rows = tried->reader.rows;

	if (tried->total < 0 && rows > 0)
		appendStringInfo(detail, "At least %s %s listed", grouped(rows), collection->name);
	else
		appendStringInfo(detail, "%s %s listed", grouped(Max(tried->total, rows)), collection->name);
	if (tried->page.judge.school_scoped)
		return;
	if (strcmp(collection->family, "contact") == 0)
		appendStringInfoString(detail, " in the district; those of this school's students are kept");
	else if (collection->kind == PAGE_DEMOGRAPHICS)
		appendStringInfoString(detail, " in the district; those of this school's users are kept");
	else if (collection->kind == PAGE_COURSES)
		appendStringInfoString(detail, " in the district; those of this school's classes are kept");
	else if (collection->kind == PAGE_SESSIONS)
		appendStringInfoString(detail, " in the district");
	else
		appendStringInfo(detail, " in the district; of the first %d, %d are of this school and kept", rows,
						 tried->page.here);
}

/* What the lists have that take the place of a denied one; false where there are none, or one has no page either. */
static bool
try_stand_ins(ConnectionTest *test, const RosterCollection *denied, List *collections, StringInfo detail)
{
	ListCell   *cell;
	bool		found = false;

	foreach(cell, collections)
	{
		RosterCollection *collection = lfirst(cell);
		TriedList	tried;

		if (collection->instead_of == NULL || strcmp(collection->instead_of, denied->name) != 0)
			continue;
		try_list(test, collection, &tried);
		if (tried.fault != NULL)
			return false;
		if (found)
			appendStringInfoString(detail, ". ");
		append_list(detail, collection, &tried);
		found = true;
	}
	return found;
}

static const char *
hint_of_empty_list(const RosterCollection *collection)
{
	if (collection->kind == PAGE_USERS)
		return "An empty list is not an error, and archives no one. If the school has such people, ask the district's "
			"SIS administrator to share them with this connection.";
	return psprintf("An empty list is not an error, and ends nothing. If the school has %s, ask the district's SIS "
					"administrator to share them with this connection.", collection->name);
}

static void
test_collection(ConnectionTest *test, RosterCollection *collection, List *collections)
{
	TriedList	tried;
	StringInfoData detail;

	begin_step(test);
	initStringInfo(&detail);
	try_list(test, collection, &tried);
	if (tried.fault != NULL)
	{
		if (tried.denied && try_stand_ins(test, collection, collections, &detail))
		{
			appendStringInfo(&detail, ". Read instead of %s, which is denied: %s.", collection->path,
							 (tried.own_fault != NULL ? tried.own_fault : tried.fault)->message);
			end_step(test, true, detail.data, NULL, -1);
		}
		else
			end_step_with_fault(test, tried.fault);
		return;
	}

	append_list(&detail, collection, &tried);
	appendStringInfoChar(&detail, '.');
	if (tried.own_fault != NULL)
		appendStringInfo(&detail, " Read from %s, since %s is denied: %s.", tried.read_from, collection->path,
						 tried.own_fault->message);

	if (tried.page.judge.school_scoped && tried.reader.rows > 0 && tried.page.here == 0)
	{
		appendStringInfo(&detail, " None of the first %d names \"%s\" %s, and rows of other schools are not taken.",
						 tried.reader.rows, test->connection->school_id,
						 collection->kind == PAGE_USERS ? "among its orgs" : "as its school");
		end_step(test, false, detail.data,
				 collection->kind == PAGE_USERS ?
				 "Ask the SIS vendor why the endpoint of one school lists people of others."
				 : "Ask the SIS vendor why the endpoint of one school lists rows of others.", -1);
		return;
	}
	end_step(test, true, detail.data, tried.reader.rows == 0 ? hint_of_empty_list(collection) : NULL, -1);
}

/* The lists that are tried as a step of their own: others only where theirs is denied. */
static List *
lists_with_step(List *collections)
{
	List	   *lists = NIL;
	ListCell   *cell;

	foreach(cell, collections)
	{
		if (((RosterCollection *) lfirst(cell))->instead_of == NULL)
			lists = lappend(lists, lfirst(cell));
	}
	return lists;
}

/*
 * Tests the connection, with a row of run_steps for each step.  Raises no fault
 * of the SIS.  Not inside a transaction.
 */
void
test_connection(RosterConnection *connection, RosterRun *run)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "minga_roster connection test", ALLOCSET_DEFAULT_SIZES);
	MemoryContext page_context =
	AllocSetContextCreate(context, "minga_roster page of a collection", ALLOCSET_DEFAULT_SIZES);
	ConnectionTest test = {.connection = connection,.run = run};
	UrlParts	base = {0};
	UrlParts	token = {0};
	List	   *collections;
	List	   *lists;
	ListCell   *cell;

	MemoryContextSwitchTo(context);
	collections = load_collections(connection, run);
	lists = lists_with_step(collections);
	announce_steps(&test, lists);
	test.client = client_open(connection, run);
	load_facts(&test.client->facts);

	if (test_url(&test, &base, &token) && test_hosts(&test, &base, &token) &&
		test_token(&test) && test_school(&test, collections))
	{
		foreach(cell, lists)
		{
			MemoryContextReset(page_context);
			MemoryContextSwitchTo(page_context);
			test_collection(&test, lfirst(cell), collections);
			MemoryContextSwitchTo(context);
		}
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
