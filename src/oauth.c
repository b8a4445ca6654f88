/*
 * oauth.c
 *	  Tokens: OAuth 2.0 client credentials, kept sealed until they expire.
 *
 * The secret is unsealed for the length of one request and wiped after it.  What a
 * token endpoint answers is shown to nobody but for the OAuth error code in it:
 * servers have been seen to repeat credentials in their errors.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "client.h"
#include "compat.h"

/* A token is not used in its last minute, and kept five where the server does not say how long. */
#define TOKEN_MARGIN_S 60
#define TOKEN_DEFAULT_S 300
#define TOKEN_MAX_BYTES (256 * 1024)
#define TOKEN_MAX_DEPTH 32

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
				 errhint("Compare the token URL (connections.token_url) with the one that the SIS shows to the school; if it is right, ask the SIS vendor.")));
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

	memset(answer, 0, sizeof(*answer));
	if (response->len == 0 || !pg_verify_mbstr(PG_UTF8, response->body, response->len, true))
		return false;
	lexer = compat_json_lex_context(response->body, response->len);
	actions.semstate = answer;
	actions.object_start = answer_nest;
	actions.object_end = answer_unnest;
	actions.array_start = answer_nest;
	actions.array_end = answer_unnest;
	actions.object_field_start = answer_field;
	actions.scalar = answer_scalar;
	return response->body[strspn(response->body, " \t\r\n")] == '{' && pg_parse_json(lexer, &actions) == JSON_SUCCESS;
}

/* An error code of OAuth: letters and underscores, so that it can be shown. */
static bool
is_error_code(const char *text)
{
	return text != NULL && text[0] != '\0' && strlen(text) <= 40 && strspn(text, "abcdefghijklmnopqrstuvwxyz_") == strlen(text);
}

/* A token goes into a header: visible ASCII characters alone (RFC 6750 has fewer yet). */
static bool
is_token(const char *text)
{
	if (text == NULL || text[0] == '\0')
		return false;
	while (*text > ' ' && *text <= '~')
		text++;
	return *text == '\0';
}

/* The token kept from before, if it is good for a while yet.  In a transaction of its own. */
static bool
recall_token(RosterClient *client)
{
	MemoryContext owner = CurrentMemoryContext;
	Oid			types[] = {TEXTOID};
	Datum		values[1];
	bool		isnull;

	begin_worker_transaction();
	values[0] = CStringGetTextDatum(client->connection->name);
	SPI_execute_with_args("SELECT binding::text, sealed, expires_at FROM minga_roster.tokens WHERE connection = $1",
						  1, types, values, NULL, true, 1);
	if (SPI_processed > 0)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		char	   *binding = SPI_getvalue(tuple, tupdesc, 1);
		bytea	   *sealed = DatumGetByteaPP(SPI_getbinval(tuple, tupdesc, 2, &isnull));

		client->token_expires_at = DatumGetTimestampTz(SPI_getbinval(tuple, tupdesc, 3, &isnull));
		if (client->token_expires_at > GetCurrentTimestamp())
			client->token = MemoryContextStrdup(client->context, unseal_value(binding, VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed)));
	}
	commit_worker_transaction();
	MemoryContextSwitchTo(owner);
	return client->token != NULL;
}

/* Keeps the token for later runs.  In a transaction of its own. */
static void
keep_token(RosterClient *client)
{
	Oid			types[] = {TEXTOID, TEXTOID, BYTEAOID, TIMESTAMPTZOID};
	Datum		values[4];
	char	   *binding;
	char	   *sealed;
	Size		sealed_len;

	begin_worker_transaction();
	SPI_execute("SELECT pg_catalog.gen_random_uuid()::text", false, 1);
	binding = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	sealed = seal_value(binding, client->token, &sealed_len);
	values[0] = CStringGetTextDatum(client->connection->name);
	values[1] = CStringGetTextDatum(binding);
	values[2] = PointerGetDatum(cstring_to_text_with_len(sealed, sealed_len));
	values[3] = TimestampTzGetDatum(client->token_expires_at);
	SPI_execute_with_args("INSERT INTO minga_roster.tokens (connection, binding, sealed, expires_at)"
						  " SELECT $1, $2::uuid, $3, $4 WHERE EXISTS (SELECT FROM minga_roster.connections WHERE connection = $1)"
						  " ON CONFLICT (connection) DO UPDATE SET binding = excluded.binding, sealed = excluded.sealed, expires_at = excluded.expires_at",
						  4, types, values, NULL, false, 0);
	commit_worker_transaction();
}

/* One request to the token endpoint, the credentials in the header or in the body. */
static void
ask_token_endpoint(RosterClient *client, const char *secret, HttpResponse *response)
{
	RosterConnection *connection = client->connection;
	HttpRequest request = {0};
	StringInfoData form;

	initStringInfo(&form);
	appendStringInfoString(&form, "grant_type=client_credentials");
	if (connection->scope != NULL)
		appendStringInfo(&form, "&scope=%s", url_encode(connection->scope));
	if (client->credentials_in_body)
	{
		char	   *encoded = url_encode(secret);

		appendStringInfo(&form, "&client_id=%s&client_secret=%s", url_encode(connection->client_id), encoded);
		explicit_bzero(encoded, strlen(encoded));
	}
	else
	{
		request.basic_user = connection->client_id;
		request.basic_password = secret;
	}
	request.url = connection->token_url;
	request.form = form.data;
	request.max_bytes = TOKEN_MAX_BYTES;
	client_perform(client, &request, response);
	explicit_bzero(form.data, form.len);
}

/* What a refused token means, in words for the school. */
static ClientFault *
token_fault(RosterClient *client, const HttpResponse *response, const TokenAnswer *answer)
{
	char	   *found = is_error_code(answer->error) ? psprintf("The token endpoint answered %d, %s.", response->status, answer->error) :
		psprintf("The token endpoint answered %d.", response->status);

	if (response->body != NULL && strstr(response->body, "No Campus Application selected") != NULL)
		return client_fault(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
							client->connection->app_name == NULL ? pstrdup("the SIS does not know the App Name") :
							psprintf("the SIS does not know the App Name \"%s\"", client->connection->app_name),
							"The token endpoint answered \"No Campus Application selected\".",
							"The App Name is the value after \"appName=\" in the token URL that the SIS shows to the school; correct it with roster_configure(app_name => ...).");
	if (response->status == 400 || response->status == 401 || response->status == 403)
		return client_fault(ERRCODE_INVALID_PASSWORD,
							psprintf("the SIS refused the credentials of connection \"%s\"", client->connection->name),
							found,
							"Compare client_id and client_secret with what the SIS shows to the school (roster_set_secret), and ask the school whether the connection is enabled and its credentials have not expired.");
	if (response->status == 404)
		return client_fault(ERRCODE_UNDEFINED_OBJECT,
							"the SIS has no token endpoint at this URL",
							found,
							"Compare the token URL (connections.token_url) with the one that the SIS shows to the school.");
	if (response->status == 200)
		return client_fault(ERRCODE_PROTOCOL_VIOLATION,
							"the token endpoint's answer holds no access token",
							"It answered 200 with something that is no OAuth 2.0 token.",
							"Compare the token URL (connections.token_url) with the one that the SIS shows to the school; if it is right, ask the SIS vendor.");
	return client_status_fault(client, client->connection->token_url, response);
}

static void
take_token(RosterClient *client, const TokenAnswer *answer)
{
	double		seconds = answer->expires_in == NULL ? TOKEN_DEFAULT_S : strtod(answer->expires_in, NULL);

	if (!(seconds > 0))
		seconds = TOKEN_DEFAULT_S;
	client->token_lifetime = answer->expires_in == NULL ? 0 : (int) Min(seconds, PG_INT32_MAX);
	seconds = Max(seconds - TOKEN_MARGIN_S, seconds / 2);
	client->token = MemoryContextStrdup(client->context, answer->access_token);
	client->token_expires_at = GetCurrentTimestamp() + (int64) (Min(seconds, 86400 * 30) * USECS_PER_SEC);
}

/*
 * Sees to it that client->token is good: the one at hand, the one kept, or,
 * with "renew" set or none left, a new one.  Returns NULL or the fault, palloc'd.
 * Opens transactions of its own; throws when there is no secret or key file.
 */
ClientFault *
client_authorize(RosterClient *client, bool renew)
{
	HttpResponse response;
	TokenAnswer answer;
	ClientFault *fault;
	char	   *secret;
	MemoryContext owner = CurrentMemoryContext;

	if (!renew && client->token != NULL && client->token_expires_at > GetCurrentTimestamp())
		return NULL;
	client->token = NULL;
	if (!renew && recall_token(client))
		return NULL;

	begin_worker_transaction();
	MemoryContextSwitchTo(owner);	/* the one copy, to be wiped */
	secret = load_secret(client->connection->name);
	commit_worker_transaction();
	for (;;)
	{
		ask_token_endpoint(client, secret, &response);
		if (response.fault != TRANSFER_OK)
		{
			fault = client_transfer_fault(client->connection->token_url, &response);
			break;
		}
		if (read_answer(&response, &answer) && response.status == 200 && is_token(answer.access_token))
		{
			take_token(client, &answer);
			fault = NULL;
			break;
		}
		fault = token_fault(client, &response, &answer);
		/* Some servers take the credentials in the body only. */
		if (client->credentials_in_body || (response.status != 400 && response.status != 401))
			break;
		client->credentials_in_body = true;
		http_release(&response);
	}
	http_release(&response);
	explicit_bzero(secret, strlen(secret));
	if (fault == NULL)
		keep_token(client);
	else
		client->credentials_in_body = false;
	return fault;
}

/*
 * The value of the Authorization header for one try of one request, palloc'd, for
 * the caller to wipe; client_authorize has to have been called.  Each try needs
 * its own: a signature holds a time and a nonce, and a token may have been renewed.
 */
char *
client_authorization(RosterClient *client, const char *method, const char *url)
{
	return psprintf("Bearer %s", client->token);
}
