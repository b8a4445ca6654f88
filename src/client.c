/*
 * client.c
 *	  Authorised GETs of one connection, with retries; and what each fault of the
 *	  network, of HTTP and of the SIS means to the people who can mend it.
 *
 * What it must survive: a server that is down for moments, one that asks to wait,
 * a token that is withdrawn in the middle.  Other 4xx are never tried again.  All
 * waits end at once on an interrupt.
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

#include "client.h"
#include "compat.h"

/* 20,000 users or more; a page and its copy without bad characters leave the worker well below 64 MB whatever a server sends. */
#define PAGE_MAX_BYTES (24 * 1024 * 1024)

#define TRIES_MAX 5
#define FIRST_PAUSE_MS 500
#define PAUSE_MAX_MS (120 * 1000)
#define PAUSES_MAX_MS (300 * 1000)	/* of one request in all */

/* What is asked for of a user: nothing that is not stored, and never a password. */
#define USER_FIELDS "sourcedId,status,dateLastModified,enabledUser,givenName,familyName,middleName,role,username,identifier,email,sms,phone,grades,orgs,agents"
#define USER_FIELDS_1_2 "sourcedId,status,dateLastModified,enabledUser,givenName,familyName,middleName,preferredFirstName,roles,username,identifier,email,sms,phone,grades,agents"

/* A client of the connection; lives in, and its pool is freed with, the current memory context. */
RosterClient *
client_open(RosterConnection *connection, RosterRun *run)
{
	RosterClient *client = palloc0(sizeof(RosterClient));

	client->context = CurrentMemoryContext;
	client->connection = connection;
	client->run = run;
	client->pool = transfer_open();
	return client;
}

/*
 * URL of a path below the root, which may end in a query such as
 * ?filter=role='administrator'.  With a limit it is a page of a collection in
 * stable order; with limit 0 a single object.  palloc'd.
 */
char *
client_url(RosterClient *client, const char *path, int limit, int64 offset)
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
		appendStringInfo(&url, "limit=%d&offset=" INT64_FORMAT "&sort=sourcedId&orderBy=asc&", limit, offset);
	for (const char *c = path; *c != '\0' && *c != '?'; c++)
	{
		if (*c == '/')
			last = c + 1;
	}
	if (limit > 0 && strncmp(last, "orgs", 4) != 0 && strncmp(last, "schools", 7) != 0)
		appendStringInfo(&url, "fields=%s&", strstr(client->connection->base_url, "/v1p2") != NULL ? USER_FIELDS_1_2 : USER_FIELDS);
	url.data[url.len - 1] = '\0';	/* the "?" or "&" left over */
	return url.data;
}

/* A fault from texts that live long enough; palloc'd. */
ClientFault *
client_fault(int sqlstate, const char *message, const char *detail, const char *hint)
{
	ClientFault *fault = palloc0(sizeof(ClientFault));

	fault->sqlstate = sqlstate;
	fault->message = pstrdup(message);
	fault->detail = detail == NULL ? NULL : pstrdup(detail);
	fault->hint = hint == NULL ? NULL : pstrdup(hint);
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

/* What it means that no answer came; palloc'd. */
ClientFault *
client_transfer_fault(const char *url, const HttpResponse *response)
{
	char	   *host = host_of(url);
	char	   *found = psprintf("libcurl says of %s: %s.", path_of(url), response->fault_text);

	switch (response->fault)
	{
		case TRANSFER_DNS:
			return client_fault(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
								psprintf("the host name \"%s\" was not found", host), found,
								"Compare the URL with the one that the SIS shows to the school; if it is right, let the DBA check that the database server can look up names.");
		case TRANSFER_CONNECT:
			return client_fault(ERRCODE_CONNECTION_FAILURE,
								psprintf("the connection to \"%s\" failed or broke off", host), found,
								"The SIS may be down, or a firewall on either side may be closed: ask the school's SIS administrator, and let the DBA check that the database server may reach the host.");
		case TRANSFER_TLS:
			return client_fault(ERRCODE_SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION,
								psprintf("no trusted TLS connection to \"%s\" could be made", host), found,
								"The certificate of the SIS may have expired, be for another host or come from a private authority: ask the school's SIS administrator; for a private authority let the DBA set minga_roster.ca_file.");
		case TRANSFER_TIMEOUT:
			return client_fault(ERRCODE_CONNECTION_FAILURE,
								psprintf("\"%s\" did not answer in time", host), found,
								"The SIS may be overloaded: try again later, or ask for smaller pages with roster_configure(page_size => ...).");
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
			return client_fault(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
								"the SIS refused a token that it had just issued", found,
								"Ask the school whether the connection is enabled for rostering; if it is, ask the SIS vendor.");
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
								"Try again later; ask the school which hours its SIS allows, and the SIS vendor which rate.");
		default:
			if (response->status >= 300 && response->status < 400)
				return client_fault(ERRCODE_PROTOCOL_VIOLATION,
									"the SIS sent a redirect, which is not followed",
									psprintf("It answered %d for %s, pointing to host \"%s\".", response->status, path,
											 response->location == NULL ? "" : host_of(response->location)),
									"Credentials go to the configured host alone. Ask the school for the address that answers directly, and set it with roster_configure(url => ...).");
			if (response->status >= 500)
				return client_fault(ERRCODE_CONNECTION_FAILURE,
									"the SIS failed to answer", found,
									"Something is wrong inside the SIS: try again later, and ask its vendor if it stays so.");
			return client_fault(ERRCODE_PROTOCOL_VIOLATION,
								"the SIS refused a request", found,
								"Ask the SIS vendor what is wrong with it.");
	}
}

/* Waits, and ends at once on an interrupt. */
static void
pause_ms(long ms)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
	long		left;

	while ((left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* How often a request may be tried that ended so; 1 is never again. */
static int
tries_for(const HttpResponse *response)
{
	switch (response->fault)
	{
		case TRANSFER_OK:
			return (response->status == 429 || response->status == 502 || response->status == 503 || response->status == 504) ? TRIES_MAX : 1;
		case TRANSFER_CONNECT:
			return TRIES_MAX;
		case TRANSFER_DNS:
		case TRANSFER_TIMEOUT:
			return 2;
		default:
			return 1;
	}
}

/*
 * One request with its retries, counted up in the run; with "authorized" each
 * try has an Authorization header of its own.  The last response, good or bad,
 * is the caller's to release.
 */
void
client_perform(RosterClient *client, const HttpRequest *request, bool authorized, HttpResponse *response)
{
	HttpRequest sent = *request;
	long		paused = 0;

	for (int try = 1;; try++)
	{
		long		pause;

		if (authorized)
			sent.authorization = client_authorization(client, "GET", request->url);
		http_perform(client->pool, &sent, response);
		if (authorized)
			explicit_bzero(unconstify(char *, sent.authorization), strlen(sent.authorization));
		if (client->run != NULL)
		{
			client->run->requests++;
			client->run->bytes += response->len;
		}
		if (try >= tries_for(response))
			return;
		pause = (long) (FIRST_PAUSE_MS * (1 << (try - 1)) * (0.75 + 0.5 * pg_prng_double(&pg_global_prng_state)));
		pause = Max(pause, response->retry_after_ms);
		if (pause > PAUSE_MAX_MS || paused + pause > PAUSES_MAX_MS)
			return;
		http_release(response);
		pause_ms(pause);
		paused += pause;
		if (client->run != NULL)
			client->run->retries++;
	}
}

/*
 * GETs a URL with the token, which is asked for when there is none and renewed
 * once when it is refused.  NULL: an answer, whatever its status, is in
 * *response, for http_release; else the fault, with nothing to release.
 */
ClientFault *
client_try_get(RosterClient *client, const char *url, HttpResponse *response)
{
	HttpRequest request = {0};
	ClientFault *fault;
	bool		renewed = false;

	memset(response, 0, sizeof(*response));
	request.url = url;
	request.max_bytes = PAGE_MAX_BYTES;
	if ((fault = client_authorize(client, false)) != NULL)
		return fault;
	for (;;)
	{
		client_perform(client, &request, true, response);
		if (response->fault != TRANSFER_OK)
		{
			fault = client_transfer_fault(url, response);
			http_release(response);
			return fault;
		}
		if (response->status != 401 || renewed)
			return NULL;
		http_release(response);
		renewed = true;
		if ((fault = client_authorize(client, true)) != NULL)
			return fault;
	}
}
