/*
 * oauth2.c
 *	  What authorizes a request: OAuth 2.0 tokens for client credentials, kept
 *	  sealed until they expire; signatures (oauth1.c); or a token that the school
 *	  handed over as the secret.
 *
 * The secret is unsealed for the length of one request for a token and wiped
 * after it, or with its memory where a cancel comes first; where it signs or is
 * the token, it is kept for the run and wiped with the client.  What a token
 * endpoint answers is shown to no one but for the OAuth error code in it:
 * servers have been seen to repeat credentials in their errors.
 */
#include "postgres.h"

#include <time.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/connection.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/seal.h"
#include "base/secrets.h"
#include "base/text.h"
#include "base/transaction.h"
#include "net/http.h"
#include "net/transfer.h"
#include "net/url.h"
#include "oneroster/fault.h"
#include "oneroster/http_fault.h"
#include "oneroster/oauth1.h"
#include "oneroster/oauth2.h"
#include "oneroster/origins.h"
#include "oneroster/request.h"

/* A token is not used in its last minute, and kept five where the server does not say how long. */
#define TOKEN_MARGIN_S 60
#define TOKEN_DEFAULT_S 300
#define TOKEN_MAX_BYTES (256 * 1024)
#define TOKEN_MAX_DEPTH 32

/* Clocks that differ by more than this are named where a signature is refused. */
#define CLOCK_SKEW_S 60

/* As tokens.sent_as has them. */
static const char *const credentials_forms[] = {"basic", "body", "encoded basic"};

/* What of a token endpoint's JSON is looked at; palloc'd, NULL where absent. */
typedef struct TokenAnswer
{
	int			depth;
	char	   *field;			/* being read, at the top level */
	char	   *access_token;
	char	   *expires_in;
	char	   *error;
} TokenAnswer;

static JsonActionResult
answer_nest(void *state)
{
	if (++((TokenAnswer *) state)->depth > TOKEN_MAX_DEPTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the token endpoint's answer is nested too deeply"),
				 errdetail("It has more than %d levels.", TOKEN_MAX_DEPTH),
				 errhint("Compare the token URL (connections.token_url) with the one that the SIS shows to the "
						 "school; if it is right, ask the SIS vendor.")));
	JSON_ACTION_OK;
}

static JsonActionResult
answer_unnest(void *state)
{
	((TokenAnswer *) state)->depth--;
	JSON_ACTION_OK;
}

static JsonActionResult
answer_field(void *state, char *name, bool isnull)
{
	TokenAnswer *answer = state;

	if (answer->depth == 1)
		answer->field = name;
	JSON_ACTION_OK;
}

static JsonActionResult
answer_scalar(void *state, char *token, JsonTokenType type)
{
	TokenAnswer *answer = state;

	if (answer->depth == 1 && answer->field != NULL && type != JSON_TOKEN_NULL)
	{
		if (strcmp(answer->field, "access_token") == 0)
			answer->access_token = token;
		else if (strcmp(answer->field, "expires_in") == 0)
			answer->expires_in = token;
		else if (strcmp(answer->field, "error") == 0)
			answer->error = token;
	}
	JSON_ACTION_OK;
}

/* False when the body is no JSON object. */
static bool
read_answer(const HttpResponse *response, TokenAnswer *answer)
{
	JsonSemAction actions = {0};
	JsonLexContext *lexer;
	char	   *body = response->body;
	size_t		len = response->len;

	memset(answer, 0, sizeof(*answer));
	if (len >= 3 && memcmp(body, "\xEF\xBB\xBF", 3) == 0)
	{
		body += 3;
		len -= 3;
	}
	if (len == 0 || !pg_verify_mbstr(PG_UTF8, body, len, true))
		return false;
	lexer = compat_json_lex_context(body, len);
	actions.semstate = answer;
	actions.object_start = answer_nest;
	actions.object_end = answer_unnest;
	actions.array_start = answer_nest;
	actions.array_end = answer_unnest;
	actions.object_field_start = answer_field;
	actions.scalar = answer_scalar;
	return body[strspn(body, " \t\r\n")] == '{' && pg_parse_json(lexer, &actions) == JSON_SUCCESS;
}

/* An error code of OAuth: letters and underscores, so that it can be shown. */
static bool
is_error_code(const char *text)
{
	return text !=NULL && text[0] != '\0' && strlen(text) <= 40 &&
				strspn(text, "abcdefghijklmnopqrstuvwxyz_") == strlen(text);
}

/* A token goes into a header: visible ASCII characters alone (RFC 6750 has fewer yet). */
static bool
is_token(const char *text)
{
	if (text == NULL || text[0] == '\0')
		return false;
	while (*text >' ' && *text <='~')
		text	  ++;

	return *text == '\0';
}

static void
wipe(void *text)
{
	explicit_bzero(text, strlen(text));
}

/* Takes a copy of what authorizes from now on, which is wiped with the client. */
static void
hold_token(Authorization *authorization, const char *token, TimestampTz expires_at)
{
	MemoryContext caller = MemoryContextSwitchTo(authorization->context);

	authorization->token = pstrdup(token);
	authorization->token_expires_at = expires_at;
	wipe_with_context(authorization->token, strlen(token));
	MemoryContextSwitchTo(caller);
}

/* What the client's secret and tokens are bound to, beside the row: where it is about to send them. */
static char *
token_origins(Authorization *authorization)
{
	return secret_origins(authorization->connection->base_url, authorization->connection->token_url);
}

/*
 * The token kept from before, if it is good for a while yet and wanted, and how
 * the credentials were sent for it.  One that does not open is none: a run that
 * was under way while the address changed may have kept it.  In a transaction
 * of its own.
 */
static void
recall_token(Authorization *authorization, bool wanted)
{
	MemoryContext owner = CurrentMemoryContext;
	Oid			types[] = {TEXTOID};
	Datum		values[1];
	bool		isnull;

	begin_worker_transaction();
	values[0] = CStringGetTextDatum(authorization->connection->name);
	execute_statement("SELECT binding::text, sealed, expires_at, sent_as "
					  "FROM minga_roster.tokens WHERE connection = $1",
					  1, types, values, NULL);
	if (SPI_processed > 0)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		char	   *binding = SPI_getvalue(tuple, tupdesc, 1);
		bytea	   *sealed = DatumGetByteaPP(SPI_getbinval(tuple, tupdesc, 2, &isnull));
		TimestampTz expires_at = DatumGetTimestampTz(SPI_getbinval(tuple, tupdesc, 3, &isnull));
		char	   *sent_as = SPI_getvalue(tuple, tupdesc, 4);

		for (int form = 0; form < lengthof(credentials_forms); form++)
		{
			if (strcmp(sent_as, credentials_forms[form]) == 0)
				authorization->credentials_sent = (CredentialsForm) form;
		}
		if (wanted && expires_at > GetCurrentTimestamp())
		{
			char	   *token = unseal_value(secret_binding(binding, authorization->connection->name,
															token_origins(authorization)),
											 VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed), true);

			if (token != NULL)
			{
				hold_token(authorization, token, expires_at);
				wipe(token);
			}
		}
	}
	commit_worker_transaction();
	MemoryContextSwitchTo(owner);
}

/* Keeps the token for later runs.  In a transaction of its own. */
static void
keep_token(Authorization *authorization)
{
	Oid			types[] = {TEXTOID, TEXTOID, BYTEAOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[5];
	char	   *binding;
	char	   *sealed;
	Size		sealed_len;

	begin_worker_transaction();
	SPI_execute("SELECT pg_catalog.gen_random_uuid()::text", false, 1);
	binding = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	sealed = seal_value(secret_binding(binding, authorization->connection->name, token_origins(authorization)),
						authorization->token,
						&sealed_len);
	values[0] = CStringGetTextDatum(authorization->connection->name);
	values[1] = CStringGetTextDatum(binding);
	values[2] = PointerGetDatum(cstring_to_text_with_len(sealed, sealed_len));
	values[3] = TimestampTzGetDatum(authorization->token_expires_at);
	values[4] = CStringGetTextDatum(credentials_forms[authorization->credentials_sent]);
	execute_statement("INSERT INTO minga_roster.tokens (connection, binding, sealed, expires_at, sent_as) "
					  "SELECT $1, $2::uuid, $3, $4, $5 "
					  "WHERE EXISTS (SELECT FROM minga_roster.connections WHERE connection = $1) "
					  "ON CONFLICT (connection) DO UPDATE SET binding = excluded.binding, "
					  "sealed = excluded.sealed, expires_at = excluded.expires_at, sent_as = excluded.sent_as",
					  5, types, values, NULL);
	commit_worker_transaction();
}

/* Whether the credentials can be sent so, and differently from how they are in plain HTTP Basic. */
static bool
is_form_of_its_own(CredentialsForm form, const char *client_id, const char *secret)
{
	switch (form)
	{
		case CREDENTIALS_BASIC:
			return strchr(client_id, ':') == NULL;
		case CREDENTIALS_ENCODED_BASIC:
			{
				char	   *encoded = url_encode(secret);	/* nothing ends this before it is wiped */
				bool		differs = strcmp(encoded, secret) != 0 || strcmp(url_encode(client_id), client_id) != 0;

				wipe(encoded);
				return differs;
			}
		default:
			return true;
	}
}

/* One request to the token endpoint. */
static void
ask_token_endpoint(Authorization *authorization, const char *secret, CredentialsForm credentials,
				   HttpResponse *response)
{
	RosterConnection *connection = authorization->connection;
	HttpRequest request = {0};
	StringInfoData form;
	char	   *encoded = url_encode(secret);
	MemoryContext caller;

	wipe_with_context(encoded, strlen(encoded));
	caller = MemoryContextSwitchTo(authorization->context); /* as long as the pool, should a cancel end the request */
	initStringInfo(&form);
	appendStringInfoString(&form, "grant_type=client_credentials");
	if (connection->scope != NULL)
		appendStringInfo(&form, "&scope=%s", url_encode(connection->scope));
	if (credentials == CREDENTIALS_BODY)
	{
		appendStringInfo(&form, "&client_id=%s&client_secret=", url_encode(connection->client_id));
		enlargeStringInfo(&form, strlen(encoded));	/* it does not move with the secret in it */
		appendStringInfoString(&form, encoded);
	}
	else
	{
		request.basic_user = credentials == CREDENTIALS_BASIC ? connection->client_id
			: url_encode(connection->client_id);
		request.basic_password = credentials == CREDENTIALS_BASIC ? secret : encoded;
	}
	wipe_with_context(form.data, form.len);
	MemoryContextSwitchTo(caller);
	request.url = connection->token_url;
	request.form = form.data;
	request.max_bytes = TOKEN_MAX_BYTES;
	request_perform(authorization->requester, &request, response);
	explicit_bzero(form.data, form.len);
	wipe(encoded);
}

/* What was found, and that the credentials have ended where that is known. */
static char *
with_their_end(Authorization *authorization, const char *found)
{
	return authorization->connection->credentials_ended == NULL ? pstrdup(found) :
		psprintf("%s According to connections.credentials_expire, they expired on %s.", found,
				 authorization->connection->credentials_ended);
}

/* What it means that no answer came from the token endpoint. */
static RosterFault *
token_transfer_fault(Authorization *authorization, const HttpResponse *response)
{
	RosterFault *fault = http_transfer_fault(authorization->connection->token_url, response);

	if (response->fault == TRANSFER_TIMEOUT)
		fault->hint = pstrdup("The token endpoint may be overloaded: run at another hour; if it stays so, ask the "
							  "school's SIS administrator, and compare the token URL (connections.token_url) with the "
							  "one that the SIS shows.");
	else if (response->fault == TRANSFER_TOO_LARGE)
		return fault_make(ERRCODE_PROTOCOL_VIOLATION,
						  "the token endpoint's answer holds no access token",
						  psprintf("It is larger than %d kB.", TOKEN_MAX_BYTES / 1024),
						  "Compare the token URL (connections.token_url) with the one that the SIS shows to the "
						  "school; if it is right, ask the SIS vendor.");
	return fault;
}

static bool
knows_no_app(const HttpResponse *response)
{
	return response->body != NULL && strstr(response->body, "No Campus Application selected") != NULL;
}

static bool
is_about_scope(const TokenAnswer *answer)
{
	return answer->error != NULL && strcmp(answer->error, "invalid_scope") == 0;
}

/* Whether the answer may be another one when the credentials are sent in another form. */
static bool
is_about_form(const HttpResponse *response, const TokenAnswer *answer)
{
	return (response->status == 400 || response->status == 401) && !knows_no_app(response) && !is_about_scope(answer) &&
		(answer->error == NULL ||
		 (strcmp(answer->error, "unsupported_grant_type") != 0 && strcmp(answer->error, "unauthorized_client") != 0));
}

/* Where a redirect points, without what may be secret in a URL: user, query and parameters of the path. */
static char *
redirect_target(const char *location)
{
	UrlParts	parts;
	const char *why;

	if (location == NULL || !url_parse(location, &parts, &why))
		return NULL;
	return printable(psprintf("%s://%s%s%s%.*s", parts.scheme, parts.host, parts.port == NULL ? "" : ":",
							  parts.port == NULL ? "" : parts.port, (int) strcspn(parts.path, ";"), parts.path),
					 1024);
}

static RosterFault *
token_redirect_fault(const HttpResponse *response)
{
	char	   *target = redirect_target(response->location);

	return fault_make(ERRCODE_PROTOCOL_VIOLATION,
					  "the token endpoint sent a redirect, which is not followed",
					  target == NULL ? psprintf("It answered %d and named no address.", response->status) :
					  psprintf("It answered %d, pointing to %s.", response->status, target),
					  target == NULL ?
					  "Credentials go to the configured address alone. Compare connections.token_url with what the "
					  "SIS shows to the school." :
					  psprintf("Credentials go to the configured address alone. If the SIS shows that address to "
							   "the school, set it with roster_configure(token_url => %s), with the query that the "
							   "SIS shows.",
							   quote_literal_cstr(target)));
}

/* What a refused token means, in words for the school. */
static RosterFault *
token_fault(Authorization *authorization, const HttpResponse *response, const TokenAnswer *answer)
{
	RosterConnection *connection = authorization->connection;
	char	   *found = is_error_code(answer->error) ?
	psprintf("The token endpoint answered %d, %s.", response->status, answer->error) :
	psprintf("The token endpoint answered %d.", response->status);

	if (knows_no_app(response))
		return fault_make(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
						  connection->app_name == NULL ? pstrdup("the SIS does not know the App Name") :
						  psprintf("the SIS does not know the App Name \"%s\"", connection->app_name),
						  "The token endpoint answered \"No Campus Application selected\".",
						  "The App Name is the value after \"appName=\" in the token URL that the SIS shows to the "
						  "school; correct it with roster_configure(app_name => ...).");
	if (is_about_scope(answer))
		return fault_make(ERRCODE_INVALID_PARAMETER_VALUE,
						  "the SIS does not grant the scope that is asked for",
						  connection->scope == NULL ? psprintf("%s None was asked for.", found)
						  : psprintf("%s \"%s\" was asked for.", found, connection->scope),
						  "Ask the school which scopes the SIS shows for the connection, and set them with "
						  "roster_configure(scope => ...); an empty scope asks for none.");
	if (response->status == 400 || response->status == 401 || response->status == 403)
		return fault_make(ERRCODE_INVALID_PASSWORD,
						  psprintf("the SIS refused the credentials of connection \"%s\"", connection->name),
						  with_their_end(authorization, found),
						  psprintf("Compare client_id and client_secret with what the SIS shows to the school "
								   "(roster_set_secret), and ask the school whether the connection is enabled and "
								   "its credentials have not expired.%s",
								   response->status == 400 && connection->scope == NULL ?
								   " If all that is right, the SIS may want a scope: "
								   "roster_configure(scope => ...)." : ""));
	if (response->status >= 300 && response->status < 400)
		return token_redirect_fault(response);
	if (response->status == 404)
		return fault_make(ERRCODE_UNDEFINED_OBJECT,
						  "the SIS has no token endpoint at this URL",
						  found,
						  "Compare the token URL (connections.token_url) with the one that the SIS shows to the "
						  "school.");
	if (response->status == 200)
		return fault_make(ERRCODE_PROTOCOL_VIOLATION,
						  "the token endpoint's answer holds no access token",
						  text_wide_encoding(response->body, response->len) == NULL ?
						  "It answered 200 with something that is not an OAuth 2.0 token." :
						  psprintf("It answered 200 in %s, and not in UTF-8.",
								   text_wide_encoding(response->body, response->len)),
						  "Compare the token URL (connections.token_url) with the one that the SIS shows to the "
						  "school; if it is right, ask the SIS vendor.");
	return http_status_fault(connection->token_url, response);
}

static void
take_token(Authorization *authorization, const TokenAnswer *answer)
{
	double		seconds = answer->expires_in == NULL ? TOKEN_DEFAULT_S : strtod(answer->expires_in, NULL);

	if (!(seconds > 0))
		seconds = TOKEN_DEFAULT_S;
	authorization->token_lifetime = answer->expires_in == NULL ? 0 : (int) Min(seconds, PG_INT32_MAX);
	seconds = Max(seconds - TOKEN_MARGIN_S, seconds / 2);
	hold_token(authorization, answer->access_token,
			   GetCurrentTimestamp() + (int64) (Min(seconds, 86400 * 30) * USECS_PER_SEC));
	wipe(answer->access_token);
}

/* The secret, palloc'd in the current memory context, to be wiped.  In a transaction of its own. */
static char *
read_secret(Authorization *authorization)
{
	MemoryContext owner = CurrentMemoryContext;
	char	   *secret;

	begin_worker_transaction();
	MemoryContextSwitchTo(owner);	/* the one copy */
	secret = load_secret(authorization->connection->name, token_origins(authorization));
	commit_worker_transaction();
	return secret;
}

/*
 * A new token, the credentials sent in each form that they have, the one that
 * was right the last time first.  The fault is that of the first form.
 */
static RosterFault *
fetch_token(Authorization *authorization)
{
	char	   *secret = read_secret(authorization);
	CredentialsForm first = authorization->credentials_sent;
	RosterFault *fault = NULL;
	bool		again = true;

	for (int i = -1; i < (int) lengthof(credentials_forms) && again; i++)
	{
		CredentialsForm form = i < 0 ? first : (CredentialsForm) i;
		HttpResponse response;
		TokenAnswer answer;
		RosterFault *found = NULL;

		if ((i >= 0 && form == first) || !is_form_of_its_own(form, authorization->connection->client_id, secret))
			continue;
		ask_token_endpoint(authorization, secret, form, &response);
		again = false;
		if (response.fault != TRANSFER_OK)
			found = token_transfer_fault(authorization, &response);
		else if (read_answer(&response, &answer) && response.status == 200 && is_token(answer.access_token))
		{
			authorization->credentials_sent = form;
			take_token(authorization, &answer);
		}
		else
		{
			found = token_fault(authorization, &response, &answer);
			again = is_about_form(&response, &answer);
		}
		if (found == NULL || fault == NULL)
			fault = found;
		if (response.body != NULL)
			explicit_bzero(response.body, response.len);
		http_release(&response);
	}
	wipe(secret);
	return fault;
}

/* The secret itself, for the length of the client. */
static RosterFault *
hold_secret(Authorization *authorization)
{
	char	   *secret = read_secret(authorization);
	bool		fit = authorization->connection->auth != AUTH_BEARER || is_token(secret);

	if (fit)
		hold_token(authorization, secret, DT_NOEND);
	wipe(secret);
	return fit ? NULL : fault_make(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
								   psprintf("the client secret of connection \"%s\" cannot be a "
											"token", authorization->connection->name),
								   "With auth \"bearer\" the secret is sent as the token itself, which consists of "
								   "visible ASCII characters without blanks.",
								   "Copy the access token again as the SIS shows it (roster_set_secret), or take "
								   "another auth (roster_configure).");
}

/* Takes the token kept from before, if there is one, so that authorize needs no transaction for it. */
void
authorize_early(Authorization *authorization)
{
	if (authorization->connection->auth == AUTH_OAUTH2 && authorization->token == NULL)
		recall_token(authorization, true);
}

/*
 * Sees to it that authorization->token is good: the one at hand, the one kept, or,
 * with "renew" set or none left, a new one.  Returns NULL or the fault, palloc'd.
 * Opens transactions of its own; throws when there is no secret or key file.
 */
RosterFault *
authorize(Authorization *authorization, bool renew)
{
	RosterFault *fault;
	bool		is_good = authorization->token != NULL && authorization->token_expires_at > GetCurrentTimestamp();

	if (authorization->connection->auth != AUTH_OAUTH2)
		return authorization->token != NULL ? NULL : hold_secret(authorization);
	if (is_good && !renew)
		return NULL;
	if (authorization->token != NULL)
		wipe(authorization->token);
	authorization->token = NULL;
	recall_token(authorization, !renew);
	if (authorization->token != NULL)
		return NULL;
	fault = fetch_token(authorization);
	if (fault == NULL)
		keep_token(authorization);
	return fault;
}

/*
 * The value of the Authorization header for one try of one request, palloc'd, for
 * the caller to wipe; authorize has to have been called.  Each try needs
 * its own: a signature holds a time and a nonce, and a token may have been renewed.
 */
char *
authorization_header(Authorization *authorization, const char *method, const char *url)
{
	RosterConnection *connection = authorization->connection;

	if (connection->auth == AUTH_OAUTH1_SHA256 || connection->auth == AUTH_OAUTH1_SHA1)
		return oauth1_authorization(connection->auth == AUTH_OAUTH1_SHA1 ? PG_SHA1 : PG_SHA256,
									connection->client_id, authorization->token, method, url);
	return psprintf("Bearer %s", authorization->token);
}

/* What a 401 to an authorized request means, in words for the school; "found" says what was answered.  palloc'd. */
RosterFault *
authorization_refusal(Authorization *authorization, const HttpResponse *response, const char *found)
{
	RosterConnection *connection = authorization->connection;
	int64		skew = response->server_time < 0 ? 0 : (int64) time(NULL) - response->server_time;

	switch (connection->auth)
	{
		case AUTH_BEARER:
			return fault_make(ERRCODE_INVALID_PASSWORD,
							  psprintf("the SIS refused the token of connection \"%s\"", connection->name),
							  with_their_end(authorization, found),
							  "Compare the token with the one that the SIS shows to the school (roster_set_secret), "
							  "and ask the school whether the connection is still enabled.");
		case AUTH_OAUTH1_SHA256:
		case AUTH_OAUTH1_SHA1:
			if (skew > CLOCK_SKEW_S || skew < -CLOCK_SKEW_S)
				return fault_make(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
								  psprintf("the clock of the database server is " INT64_FORMAT
										   " seconds %s that of the SIS",
										   skew > 0 ? skew : -skew, skew > 0 ? "ahead of" : "behind"),
								  psprintf("%s A signature of OAuth 1 holds the time, and is refused where that is "
										   "off by more than some minutes.", found),
								  "Ask the DBA to check that the clock of the database server is right; if it is, "
								  "ask the school's SIS administrator to set that of the SIS.");
			return fault_make(ERRCODE_INVALID_PASSWORD,
							  psprintf("the SIS refused the signature of connection \"%s\"", connection->name),
							  psprintf("%s %s", with_their_end(authorization, found),
									   response->server_time < 0 ? "It did not say what time its clock shows."
									   : "Its clock and that of the database server agree."),
							  psprintf("Compare client_id and client_secret with what the SIS shows to the school "
									   "(roster_set_secret), and ask the school whether the connection is enabled "
									   "and its credentials have not expired. If all that is right, it may want the "
									   "other signature: roster_configure(auth => '%s').",
									   connection->auth == AUTH_OAUTH1_SHA256 ? "oauth1_sha1" : "oauth1_sha256"));
		default:
			return fault_make(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
							  "the SIS refused a token that it had just issued", with_their_end(authorization, found),
							  "Ask the school whether the connection is enabled for rostering; if it is, ask the "
							  "SIS vendor.");
	}
}
