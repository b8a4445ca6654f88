/*
 * client.c
 *	  Authorized GETs of one connection, with retries; and what each fault of the
 *	  network, of HTTP and of the SIS means to the people who can mend it.
 *
 * What it must survive: a server that is down for moments, one that asks to wait,
 * a token that is withdrawn in the middle, with several requests in flight.  Other
 * 4xx, but for 408 and 425, are never tried again.  All waits end at once on an interrupt, and with the
 * time that the client is given (run_until).
 *
 * SQLSTATE classes 22, 28 and 42 mean "will be the same in half an hour" to the
 * evening; faults that may pass are of class 08 or 53.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "net/address.h"
#include "oneroster/client.h"
#include "base/compat.h"
#include "base/text.h"

#define TRIES_MAX 5
#define FIRST_PAUSE_MS 500
#define PAUSE_MAX_MS (120 * 1000)
#define PAUSES_MAX_MS (300 * 1000)	/* of one request in all */
#define REFUSALS_MAX 3			/* of the token, for one request */
#define FAULT_TEXT_MAX 16384

/* How long a run may ask a SIS, which could otherwise keep it forever. */
#define TEST_MAX_MINUTES 15
#define FETCH_MAX_HOURS 6

/* What is asked for of a user: nothing that is not stored, and never a password. */
#define USER_FIELDS "sourcedId,status,dateLastModified,enabledUser,givenName,familyName,middleName,role,username,identifier,email,sms,phone,grades,orgs,agents"
#define USER_FIELDS_1_2 "sourcedId,status,dateLastModified,enabledUser,givenName,familyName,middleName,preferredFirstName,roles,username,identifier,email,sms,phone,grades,agents"

/*
 * A client of the connection; lives in, and its pool is freed with, the current
 * memory context.  All clients of a run have one end.
 */
RosterClient *
client_open(RosterConnection *connection, RosterRun *run)
{
	RosterClient *client = palloc0(sizeof(RosterClient));

	client->context = CurrentMemoryContext;
	client->connection = connection;
	client->run = run;
	client->pool = transfer_open();
	if (run->asks_until == 0)
		run->asks_until = GetCurrentTimestamp() +
			(run->kind == RUN_TEST ? TEST_MAX_MINUTES * USECS_PER_MINUTE : FETCH_MAX_HOURS * USECS_PER_HOUR);
	client->run_until = run->asks_until;
	if (run->kind == RUN_TEST)
		client->run_until_fault = client_fault(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
											   "the connection could not be tested in time",
											   psprintf("The SIS was asked for %d minutes.", TEST_MAX_MINUTES),
											   "Ask the SIS vendor why its answers take so long.");
	else
		client->run_until_fault = client_fault(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
											   "the roster could not be read in time",
											   psprintf("The SIS was asked for %d hours.", FETCH_MAX_HOURS),
											   "Ask the SIS vendor why its lists take so long; larger pages may help (roster_configure(page_size "
											   "=> ...)).");
	return client;
}

/*
 * URL of a path below the root, which may end in a query such as
 * ?filter=role='administrator'.  With a limit it is a page of a collection in
 * stable order, asked for as flags (ASK_...) and what is known of the server
 * say; with limit 0 a single object.  palloc'd.
 */
char *
client_url(RosterClient *client, const char *path, int limit, int64 offset, int flags)
{
	const char *query = strchr(path, '?');
	const char *last = path;
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfoString(&url, client->connection->base_url);
	appendBinaryStringInfo(&url, path, query == NULL ? strlen(path) : query - path);
	appendStringInfoChar(&url, '?');
	if (query != NULL)
	{
		/* Of what presets write into a filter, quotes and spaces need encoding. */
		for (const char *c = query + 1; *c != '\0'; c++)
		{
			if (*c == '\'')
				appendStringInfoString(&url, "%27");
			else if (*c == ' ')
				appendStringInfoString(&url, "%20");
			else if (*c == '>')
				appendStringInfoString(&url, "%3E");
			else
				appendStringInfoChar(&url, *c);
		}
		appendStringInfoChar(&url, '&');
	}
	if (limit > 0)
		appendStringInfo(&url, "limit=%d&offset=" INT64_FORMAT "&", limit, offset);
	if (limit > 0 && !client->facts.no_sort && (flags & ASK_WITHOUT_SORT) == 0)
		appendStringInfo(&url, "sort=sourcedId&orderBy=%s&", (flags & ASK_FROM_END) ? "desc" : "asc");
	for (const char *c = path; *c != '\0' && *c != '?'; c++)
	{
		if (*c == '/')
			last = c + 1;
	}
	if (limit > 0 && !client->facts.no_fields && (flags & ASK_WITHOUT_FIELDS) == 0 &&
		strncmp(last, "orgs", 4) != 0 && strncmp(last, "schools", 7) != 0)
		appendStringInfo(&url, "fields=%s%s&",
						 strstr(client->connection->base_url, "/v1p2") != NULL ? USER_FIELDS_1_2 : USER_FIELDS,
						 client->connection->campus_metadata ? ",metadata" : "");
	url.data[url.len - 1] = '\0';	/* the "?" or "&" left over */
	return url.data;
}

/* A fault from texts, which are made fit to be read, since a server's words may be in them; palloc'd. */
ClientFault *
client_fault(int sqlstate, const char *message, const char *detail, const char *hint)
{
	ClientFault *fault = palloc0(sizeof(ClientFault));

	fault->sqlstate = sqlstate;
	fault->message = printable(message, FAULT_TEXT_MAX);
	fault->detail = detail == NULL ? NULL : printable(detail, FAULT_TEXT_MAX);
	fault->hint = hint == NULL ? NULL : printable(hint, FAULT_TEXT_MAX);
	return fault;
}

/* Raises a fault as an error. */
void
client_raise(const ClientFault *fault)
{
	ereport(ERROR,
			(errcode(fault->sqlstate),
			 errmsg("%s", fault->message),
			 fault->detail != NULL ? errdetail("%s", fault->detail) : 0,
			 fault->hint != NULL ? errhint("%s", fault->hint) : 0));
}

/* Host of a URL, which may be one that a server sent, for messages; palloc'd. */
static char *
host_of(const char *url)
{
	UrlParts	parts;
	const char *why;

	return url_parse(url, &parts, &why) ? printable(parts.host, 255) : pstrdup("the SIS");
}

/* Path of a URL, with the offset of a page and nothing else of the query, for messages; palloc'd. */
static char *
path_of(const char *url)
{
	UrlParts	parts;
	const char *why;
	const char *offset;

	if (!url_parse(url, &parts, &why))
		return pstrdup("");
	offset = parts.query == NULL ? NULL : strstr(parts.query, "offset=");
	if (offset == NULL)
		return parts.path;
	offset += strlen("offset=");
	return psprintf("%s from offset %.*s", parts.path, (int) strspn(offset, "0123456789"), offset);
}

/* What it means that the URL's host is not allowed; palloc'd, and without the address that a name led to. */
static ClientFault *
forbidden_fault(const char *url, const char *host)
{
	UrlParts	parts;
	const char *why;
	char	   *refusal;

	if (!url_parse(url, &parts, &why))
		return client_fault(ERRCODE_INVALID_PARAMETER_VALUE,
							"a URL of the connection cannot be read", psprintf("%s.", why),
							"Set it again with roster_configure(url => ...).");
	refusal = host_refusal(parts.host, url_port(&parts));
	return client_fault(ERRCODE_INSUFFICIENT_PRIVILEGE,
						psprintf("connections to \"%s\" are not allowed", host),
						refusal != NULL ? refusal :
						"Its name leads to no address of the Internet, but into a private network or another special range.",
						host_hint(parts.host, url_port(&parts)));
}

/* What it means that this server does not know which authorities to trust; palloc'd. */
static ClientFault *
trust_fault(const char *host)
{
	char	   *why;
	char	   *file = transfer_trust_file(roster_ca_file, &why);

	return client_fault(ERRCODE_CONFIG_FILE_ERROR,
						"the database server has no list of certificate authorities to trust",
						file == NULL ? psprintf("So it cannot know whether \"%s\" is the one it says.", host) :
						psprintf("File \"%s\" cannot be used: %s. So it cannot know whether \"%s\" is the one it says.", file, why, host),
						roster_ca_file[0] != '\0' ?
						"This is not about the SIS: let the DBA correct minga_roster.ca_file, which the server's operating system "
						"user has to be able to read." :
						"This is not about the SIS: let the DBA install the package \"ca-certificates\" on the database server, "
						"or name a file of authorities with minga_roster.ca_file.");
}

/* What it means that no answer came; palloc'd. */
ClientFault *
client_transfer_fault(const char *url, const HttpResponse *response)
{
	char	   *host = host_of(url);
	char	   *found = response->fault_text == NULL ? NULL :
		psprintf("libcurl says of %s: %s.", path_of(url), response->fault_text);

	switch (response->fault)
	{
		case TRANSFER_DNS:
			return client_fault(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
								psprintf("the host name \"%s\" was not found", host), found,
								"Compare the URL with the one that the SIS shows to the school; if it is right, let the DBA check that the database server can look up names.");
		case TRANSFER_FORBIDDEN:
			return forbidden_fault(url, host);
		case TRANSFER_UNREACHABLE:
			return client_fault(ERRCODE_CONNECTION_FAILURE,
								psprintf("\"%s\" could not be reached over TLS", host),
								psprintf("No request for %s could be sent. The log of the database server has libcurl's words on it.",
										 path_of(url)),
								"The SIS may be down or at another port, or a firewall on either side may block it: "
								"ask the school's SIS administrator, and let the DBA read the log of the database server.");
		case TRANSFER_CONNECT:
			return client_fault(ERRCODE_CONNECTION_FAILURE,
								psprintf("the connection to \"%s\" broke off", host), found,
								"The SIS may be overloaded, or something on the way may cut connections: ask the school's SIS administrator.");
		case TRANSFER_PROXY:
			return client_fault(ERRCODE_CONNECTION_FAILURE,
								"the proxy of the database server could not be reached",
								psprintf("No request for %s to \"%s\" could be sent. The log of the database server has libcurl's words on it.",
										 path_of(url), host),
								"This is not about the SIS: let the DBA check that the proxy runs and that minga_roster.proxy names it.");
		case TRANSFER_PROXY_REFUSED:
			if (response->proxy_status == 407)
				return client_fault(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
									"the proxy of the database server refused its credentials",
									psprintf("It answered 407 and made no connection to \"%s\".", host),
									"This is not about the SIS: let the DBA set minga_roster.proxy with the right user and password, "
									"http://user:password@host:port.");
			return client_fault(ERRCODE_CONNECTION_FAILURE,
								psprintf("\"%s\" could not be reached through the proxy of the database server", host),
								psprintf("No request for %s could be sent. The log of the database server has what the proxy answered.",
										 path_of(url)),
								"Let the DBA read that, and have the proxy of minga_roster.proxy allow the database server this host; "
								"if it does, the SIS may be down: ask the school's SIS administrator.");
		case TRANSFER_TRUST:
			return trust_fault(host);
		case TRANSFER_TLS:
			return client_fault(ERRCODE_SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION,
								psprintf("no trusted TLS connection to \"%s\" could be made", host), found,
								"The certificate of the SIS may have expired, be for another host or come from a private authority: ask the school's SIS administrator; for a private authority let the DBA set minga_roster.ca_file.");
		case TRANSFER_TIMEOUT:
			return client_fault(ERRCODE_CONNECTION_FAILURE,
								psprintf("\"%s\" did not answer in time", host), found,
								"The SIS may be overloaded: run at another hour, or ask for smaller pages with "
								"roster_configure(page_size => ...).");
		case TRANSFER_TOO_LARGE:
			return client_fault(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
								psprintf("a page from \"%s\" is too large", host),
								psprintf("More than %d MB came for %s.", PAGE_MAX_BYTES / (1024 * 1024), path_of(url)),
								"Ask for smaller pages with roster_configure(page_size => ...); if they do not get smaller, ask the SIS vendor.");
		default:
			return client_fault(ERRCODE_PROTOCOL_VIOLATION,
								psprintf("\"%s\" does not speak HTTP as it should", host), found,
								"Compare the URL with the one that the SIS shows to the school; if it is right, ask the SIS vendor.");
	}
}

/* What an answer that is no 200 means; palloc'd. */
ClientFault *
client_status_fault(RosterClient *client, const char *url, const HttpResponse *response)
{
	char	   *path = path_of(url);
	char	   *found = psprintf("It answered %d for %s.", response->status, path);

	switch (response->status)
	{
		case 401:
			return client_refusal(client, response, found);
		case 403:
			return client_fault(ERRCODE_INSUFFICIENT_PRIVILEGE,
								"the SIS does not share this list with the connection", found,
								"Ask the school to share it (in Infinite Campus: Data to Share of the connection).");
		case 404:
			return client_fault(ERRCODE_UNDEFINED_OBJECT,
								"the SIS does not have what was asked for", found,
								"Compare URL and School ID with what the SIS shows to the school; if they are right, the SIS does not offer this endpoint.");
		case 429:
			return client_fault(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
								"the SIS asks for fewer requests", found,
								"Run at another hour: ask the school which hours its SIS allows, and the SIS vendor which rate.");
		default:
			if (response->status >= 300 && response->status < 400)
				return client_fault(ERRCODE_PROTOCOL_VIOLATION,
									"the SIS sent a redirect, which is not followed",
									psprintf("It answered %d for %s, pointing to host \"%s\".", response->status, path,
											 response->location == NULL ? "" : host_of(response->location)),
									"Credentials go to the configured host alone. Ask the school for the address that answers directly, and set it with roster_configure(url => ...).");
			if (response->status >= 500 || response->status == 408 || response->status == 425)
				return client_fault(ERRCODE_CONNECTION_FAILURE,
									"the SIS failed to answer", found,
									"Something is wrong inside the SIS: ask its vendor if it stays so.");
			return client_fault(ERRCODE_PROTOCOL_VIOLATION,
								"the SIS refused a request", found,
								"Ask the SIS vendor what is wrong with it; where larger pages than it serves were asked for, "
								"set roster_configure(page_size => ...).");
	}
}

/* Raises what a SIS is that has no end. */
pg_noreturn static void
raise_endless(const char *detail, const char *setting)
{
	client_raise(client_fault(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							  "the SIS sends more than a run may read", detail,
							  psprintf("Ask the SIS vendor why its lists do not end. For a roster that is so large, "
									   "let the DBA raise minga_roster.%s.", setting)));
}

/*
 * Carries the transfers on for a moment, but not beyond that time; raises when
 * the client's time is over or its bytes are used up.
 */
static void
wait_until(RosterClient *client, TimestampTz until)
{
	transfer_wait(client->pool, Min(until, client->run_until));
	if (GetCurrentTimestamp() >= client->run_until)
		client_raise(client->run_until_fault);
	if (client->run->bytes / (1024 * 1024) >= roster_max_fetch_megabytes)
		raise_endless(psprintf("%d MB were read.", roster_max_fetch_megabytes), "max_fetch_megabytes");
}

/* Counts rows that came; raises when the client's are used up. */
void
client_count_rows(RosterClient *client, int rows)
{
	client->rows += rows;
	if (client->rows > roster_max_fetch_rows)
		raise_endless(psprintf("More than %d rows were read.", roster_max_fetch_rows), "max_fetch_rows");
}

/*
 * Whether the same request may be answered otherwise in a moment: a server or what stands before it is busy, restarts
 * or timed out.
 */
static bool
may_pass(int status)
{
	switch (status)
	{
		case 408:
		case 425:
		case 429:
		case 502:
		case 503:
		case 504:
			return true;
	}
	return status >= 520 && status <= 524;	/* of Cloudflare */
}

/*
 * Whether an answer that is no list says no to the request as it was made: not
 * to the key, and not for the moment.
 */
bool
client_was_refused(const HttpResponse *response)
{
	return response->fault == TRANSFER_OK && response->status != 0 && response->status != 401 &&
		response->status != 403 && !may_pass(response->status);
}

/* How often a request may be tried that ended so; 1 is never again. */
static int
tries_for(const HttpResponse *response)
{
	switch (response->fault)
	{
		case TRANSFER_OK:
			return may_pass(response->status) ? TRIES_MAX : 1;
		case TRANSFER_CONNECT:
		case TRANSFER_UNREACHABLE:
		case TRANSFER_PROXY:
			return TRIES_MAX;
		case TRANSFER_PROXY_REFUSED:
			return response->proxy_status == 407 ? 1 : TRIES_MAX;
		case TRANSFER_DNS:
		case TRANSFER_TIMEOUT:
			return 2;
		default:
			return 1;
	}
}

/*
 * How long to pause before a request that ended so is tried again, so many
 * tries in all, in milliseconds; -1 where it is not.
 */
static long
pause_before_retry(const HttpResponse *response, int tries, int try, long paused)
{
	long		pause;

	if (try >= tries)
		return -1;
	pause = (long) (FIRST_PAUSE_MS * (1 << (try - 1)) * (0.75 + 0.5 * pg_prng_double(&pg_global_prng_state)));
	pause = Max(pause, response->retry_after_ms);
	return pause > PAUSE_MAX_MS || paused + pause > PAUSES_MAX_MS ? -1 : pause;
}

static Transfer *
begin_request(RosterClient *client, const HttpRequest *request)
{
	client->run->requests++;
	return http_begin(client->pool, request);
}

static void
end_request(RosterClient *client, Transfer *transfer, HttpResponse *response)
{
	http_end(client->pool, transfer, response);
	client->run->bytes += response->len;
}

/* One try, counted up in the run, without a token.  The response, good or bad, is the caller's to release. */
void
client_try(RosterClient *client, const HttpRequest *request, HttpResponse *response)
{
	Transfer   *transfer = begin_request(client, request);

	while (!transfer_has_ended(transfer))
		wait_until(client, DT_NOEND);
	end_request(client, transfer, response);
}

/*
 * One request with its retries, counted up in the run, without a token.  The
 * last response, good or bad, is the caller's to release.
 */
void
client_perform(RosterClient *client, const HttpRequest *request, HttpResponse *response)
{
	long		paused = 0;

	for (int try = 1;; try++)
	{
		long		pause;
		TimestampTz due_at;

		client_try(client, request, response);
		pause = pause_before_retry(response, tries_for(response), try, paused);
		if (pause < 0)
			return;
		http_release(response);
		due_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause);
		while (GetCurrentTimestamp() < due_at)
			wait_until(client, due_at);
		paused += pause;
		client->run->retries++;
	}
}

static void
release_get(void *arg)
{
	ClientGet  *get = arg;
	ClientGet **place = &get->client->gets;

	while (*place != get)
		place = &(*place)->next;
	*place = get->next;
	if (get->transfer != NULL)
		transfer_put_back(get->client->pool, get->transfer);
	http_release(&get->response);
}

/*
 * Begins to GET a URL with the token; client_wait carries it on.  It lives, with
 * what it allocates, until client_end_get or the end of the current memory
 * context, which must not outlive the client's.  slow_is_final: a time-out or
 * 504 is not tried again.
 */
ClientGet *
client_begin_get(RosterClient *client, const char *url, Size max_bytes, bool slow_is_final)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "minga_roster request", ALLOCSET_SMALL_SIZES);
	ClientGet  *get = MemoryContextAllocZero(context, sizeof(ClientGet));

	get->client = client;
	get->context = context;
	get->url = MemoryContextStrdup(context, url);
	get->max_bytes = max_bytes;
	get->slow_is_final = slow_is_final;
	get->response.total_count = -1;
	get->next = client->gets;
	client->gets = get;
	get->release.func = release_get;
	get->release.arg = get;
	MemoryContextRegisterResetCallback(context, &get->release);
	return get;
}

/* Sends it once more, with a header of its own for the token as it is now, which is asked for when there is none. */
static void
send_get(RosterClient *client, ClientGet *get)
{
	HttpRequest request = {.url = get->url,.max_bytes = get->max_bytes,.alone = client->an_answer_broke_off};
	char	   *authorization;

	get->tries++;
	get->fault = client_authorize(client, false);
	if (get->fault != NULL)
	{
		get->ended = true;
		return;
	}
	get->token_number = client->token_number;
	authorization = client_authorization(client, "GET", get->url);
	request.authorization = authorization;
	get->transfer = begin_request(client, &request);
	explicit_bzero(authorization, strlen(authorization));
}

/* Whether a request with that token waits for its answer. */
static bool
is_in_flight(const RosterClient *client, int token_number)
{
	for (const ClientGet *get = client->gets; get != NULL; get = get->next)
	{
		if (get->transfer != NULL && get->token_number == token_number)
			return true;
	}
	return false;
}

/*
 * A token that was refused is renewed, once for all requests in flight.  One
 * that nothing was ever answered for will not be better when it is renewed.
 * False where the refusal stays.
 */
static bool
renew_refused_token(RosterClient *client, ClientGet *get)
{
	if (client->connection->auth != AUTH_OAUTH2 || ++get->refusals > REFUSALS_MAX)
		return false;
	if (get->token_number < client->token_number)
		return true;
	if (get->refusals > 1 && client->token_accepted < get->token_number && !is_in_flight(client, get->token_number))
		return false;
	client->token_number++;
	get->fault = client_authorize(client, true);
	return get->fault == NULL;
}

static bool
is_slow(const HttpResponse *response)
{
	return response->fault == TRANSFER_TIMEOUT ||
		(response->fault == TRANSFER_OK && (response->status == 504 || response->status == 524));
}

/* A proxy tells with each answer which revision of the key's permissions it was made under. */
static void
note_revision(RosterClient *client, const HttpResponse *response)
{
	if (response->permission_revision == NULL)
		return;
	if (client->revision == NULL)
		client->revision = MemoryContextStrdup(client->context, response->permission_revision);
	else if (strcmp(client->revision, response->permission_revision) != 0)
		client->revision_changed = true;
}

/* Forgets the revision that pages were read under, to read them anew. */
void
client_forget_revision(RosterClient *client)
{
	client->revision = NULL;
	client->revision_changed = false;
}

/* Another try, in a while. */
static void
put_off(RosterClient *client, ClientGet *get, long pause)
{
	get->due_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause);
	get->paused += pause;
	if (get->response.retry_after_ms >= 0)
	{
		client->quiet_until = Max(client->quiet_until, get->due_at);
		client->was_asked_to_wait = true;
	}
	http_release(&get->response);
	client->run->retries++;
}

/* What came of the try that has ended: an end, or another try. */
static void
judge_try(RosterClient *client, ClientGet *get)
{
	HttpResponse *response = &get->response;
	long		pause;

	end_request(client, get->transfer, response);
	get->transfer = NULL;
	if (response->fault == TRANSFER_OK && response->status == 401)
	{
		get->ended = !renew_refused_token(client, get);
		if (!get->ended)
		{
			get->tries--;
			http_release(response);
		}
		return;
	}
	if (response->fault == TRANSFER_OK)
		client->token_accepted = Max(client->token_accepted, get->token_number);
	note_revision(client, response);
	pause = pause_before_retry(response, tries_for(response), get->tries, get->paused);
	if (pause >= 0 && get->slow_is_final && is_slow(response))
	{
		client->quiet_until = Max(client->quiet_until, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause));
		get->slow = true;
	}
	if (pause < 0 || get->slow)
	{
		get->ended = true;
		if (response->fault != TRANSFER_OK)
			get->fault = client_transfer_fault(get->url, response);
		return;
	}
	put_off(client, get, pause);
}

/*
 * A GET that has ended with an answer that broke off is tried again, like one
 * whose connection broke.  False where it has been tried often enough.  The
 * rest of the answer may still come, so no connection is used twice from now on.
 */
bool
client_try_again(RosterClient *client, ClientGet *get)
{
	long		pause = pause_before_retry(&get->response, TRIES_MAX, get->tries, get->paused);

	client->an_answer_broke_off = true;
	if (pause < 0)
		return false;
	get->ended = false;
	put_off(client, get, pause);
	return true;
}

bool
client_get_has_ended(const ClientGet *get)
{
	return get->ended;
}

/*
 * Carries all GETs that were begun on, until one moves: sends what is due,
 * waits, unless block is false, and judges what came.  To be called in a loop.
 * Raises on an interrupt and when the client's time is over.
 */
void
client_wait(RosterClient *client, bool block)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = DT_NOEND;
	bool		moved = false;

	CHECK_FOR_INTERRUPTS();
	for (ClientGet *get = client->gets; get != NULL; get = get->next)
	{
		MemoryContext caller = MemoryContextSwitchTo(get->context);
		TimestampTz due_at = Max(get->due_at, client->quiet_until);

		if (get->transfer == NULL && !get->ended && due_at <= now)
		{
			send_get(client, get);
			moved |= get->ended;
		}
		else if (get->transfer == NULL && !get->ended)
			until = Min(until, due_at);
		MemoryContextSwitchTo(caller);
	}
	/* Renewing a token carries the others on too. */
	for (ClientGet *get = client->gets; get != NULL; get = get->next)
		moved |= (get->transfer != NULL && transfer_has_ended(get->transfer));
	if (!moved)
		wait_until(client, block ? until : now);
	for (ClientGet *get = client->gets; get != NULL; get = get->next)
	{
		MemoryContext caller = MemoryContextSwitchTo(get->context);

		if (get->transfer != NULL && transfer_has_ended(get->transfer))
			judge_try(client, get);
		MemoryContextSwitchTo(caller);
	}
}

/* Until no GET is under way. */
void
client_wait_for_all(RosterClient *client)
{
	ClientGet  *get = client->gets;

	while (get != NULL)
	{
		if (client_get_has_ended(get))
			get = get->next;
		else
		{
			client_wait(client, true);
			get = client->gets;
		}
	}
}

/* Ends a GET, wherever it is; what it allocated goes with it. */
void
client_end_get(ClientGet *get)
{
	MemoryContextDelete(get->context);
}
