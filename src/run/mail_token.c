/*
 * mail_token.c
 *	  Tokens for a mail server that takes OAuth 2.0 alone: by client credentials
 *	  (RFC 6749, as Microsoft 365 has it), or by an assertion that the key of a
 *	  service account signs for the mailbox (RFC 7523, as Google Workspace has it).
 *
 * The secret "smtp" says which: a key file in JSON is a service account's.  A token
 * is kept in the memory of the worker that sends, and nowhere else.  What the
 * token endpoint says of an error is shown, without what may be a secret in it.
 */
#include "postgres.h"

#include <time.h>

#include "common/base64.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "base/error.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "base/seal.h"
#include "base/settings.h"
#include "base/text.h"
#include "net/http.h"
#include "net/url.h"
#include "run/mail_token.h"

#define MICROSOFT_SCOPE "https://outlook.office365.com/.default"
#define GOOGLE_SCOPE "https://mail.google.com/"
#define ASSERTION_S 3600

/* A token is not used in its last minute, and kept five where the server does not say how long. */
#define TOKEN_MARGIN_S 60
#define TOKEN_DEFAULT_S 300
#define TOKEN_MAX_S (24 * 3600)
#define ANSWER_MAX_BYTES (256 * 1024)
#define WORDS_MAX_BYTES 300

/* Which fields of a JSON object are looked for, at its top level, and what they are: palloc'd, NULL where absent. */
typedef struct Fields
{
	int			depth;
	const char *const *names;
	char	  **values;
	int			count;
	int			next;			/* whose value comes */
} Fields;

static void
open_object(void *state, const char *start)
{
	((Fields *) state)->depth++;
}

static void
close_object(void *state, const char *end)
{
	((Fields *) state)->depth--;
}

static void
open_array(void *state, const char *start)
{
	((Fields *) state)->depth++;
}

static void
close_array(void *state, const char *end)
{
	((Fields *) state)->depth--;
}

static bool
take_field(void *state, const JsonToken *key)
{
	Fields	   *fields = state;

	for (fields->next = 0; fields->next < fields->count; fields->next++)
	{
		const char *name = fields->names[fields->next];

		if (fields->depth == 1 && key->len == strlen(name) && memcmp(key->start, name, key->len) == 0)
			return true;
	}
	return false;
}

/* What a string stands for, of escapes those of ASCII alone; wiped with the current memory context. */
static char *
unescaped(const JsonToken *token)
{
	char	   *value = palloc0(token->len + 1);
	char	   *to = value;

	wipe_with_context(value, token->len);
	for (const char *c = token->start; c < token->start + token->len; c++)
	{
		unsigned int unit;

		if (*c != '\\' || token->type != JSON_TOKEN_STRING)
		{
			*to++ = *c;
			continue;
		}
		switch (*++c)
		{
			case 'n':
				*to++ = '\n';
				break;
			case 'r':
				*to++ = '\r';
				break;
			case 't':
				*to++ = '\t';
				break;
			case 'u':
				/* The scan has found four digits behind it. */
				*to++ = sscanf(c + 1, "%4x", &unit) == 1 && unit > 0 && unit < 0x80 ? (char) unit : '?';
				c += 4;
				break;
			default:
				*to++ = *c;
				break;
		}
	}
	return value;
}

static void
take_scalar(void *state, const JsonToken *value)
{
	Fields	   *fields = state;

	if (fields->depth == 1 && fields->next < fields->count && value->type != JSON_TOKEN_NULL)
		fields->values[fields->next] = unescaped(value);
	fields->next = fields->count;
}

/* Reads the fields; false where the text is no JSON object. */
static bool
read_fields(const char *json, size_t len, const char *const *names, char **values, int count)
{
	const JsonActions actions = {
		.object_start = open_object,.object_end = close_object,
		.array_start = open_array,.array_end = close_array,
		.field = take_field,.scalar = take_scalar
	};
	Fields		fields = {.names = names,.values = values,.count = count,.next = count};
	size_t		place;

	for (int i = 0; i < count; i++)
		values[i] = NULL;
	return len > 0 && json[strspn(json, " \t\r\n")] == '{' && pg_verify_mbstr(PG_UTF8, json, len, true) &&
		json_scan(json, len, &actions, &fields, &place) == JSON_IS_WHOLE;
}

/* base64url without its padding (RFC 7515); palloc'd, to be wiped with the current memory context. */
static char *
base64url(const char *data, int len)
{
	int			size = pg_b64_enc_len(len) + 1;
	char	   *encoded = palloc0(size);
	int			encoded_len = pg_b64_encode((const void *) data, len, (void *) encoded, size - 1);

	wipe_with_context(encoded, size);
	encoded[Max(encoded_len, 0)] = '\0';
	encoded[strcspn(encoded, "=")] = '\0';
	for (char *c = encoded; *c != '\0'; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
	return encoded;
}

/* A text as a JSON string has it, without its quotes; palloc'd. */
static char *
json_escaped(const char *value)
{
	StringInfoData escaped;

	initStringInfo(&escaped);
	for (; *value != '\0'; value++)
	{
		if (*value == '"' || *value == '\\')
			appendStringInfoChar(&escaped, '\\');
		if ((unsigned char) *value < ' ')
			appendStringInfo(&escaped, "\\u%04x", *value);
		else
			appendStringInfoChar(&escaped, *value);
	}
	return escaped.data;
}

static const char *
scope_or(const char *usual)
{
	return roster_smtp_scope[0] == '\0' ? usual : roster_smtp_scope;
}

/* The form of a request by the key of a service account; NULL with *why where the key can't be used. */
static char *
form_of_key(const char *key_file, char **why)
{
	const char *const names[] = {"client_email", "private_key", "private_key_id"};
	char	   *values[lengthof(names)];
	char	   *header;
	char	   *claims;
	char	   *to_sign;
	char	   *signature;
	char	   *form;
	Size		len;
	long		now = (long) time(NULL);

	if (!read_fields(key_file, strlen(key_file), names, values, lengthof(names)) || values[0] == NULL ||
		values[1] == NULL)
	{
		*why = pstrdup("the secret \"smtp\" is no key file of a service account: it lacks client_email or private_key");
		return NULL;
	}
	header = values[2] == NULL ? pstrdup("{\"alg\":\"RS256\",\"typ\":\"JWT\"}") :
		psprintf("{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", json_escaped(values[2]));
	claims = psprintf("{\"iss\":\"%s\",\"sub\":\"%s\",\"scope\":\"%s\",\"aud\":\"%s\",\"iat\":%ld,\"exp\":%ld}",
					  json_escaped(values[0]), json_escaped(roster_smtp_user), json_escaped(scope_or(GOOGLE_SCOPE)),
					  json_escaped(roster_smtp_token_url), now, now + ASSERTION_S);
	to_sign = psprintf("%s.%s", base64url(header, strlen(header)), base64url(claims, strlen(claims)));
	signature = rsa_signature(values[1], to_sign, &len);
	if (signature == NULL)
	{
		*why = pstrdup("the private_key of the secret \"smtp\" is no RSA key in PEM");
		return NULL;
	}
	form = psprintf("grant_type=%s&assertion=%s.%s", url_encode("urn:ietf:params:oauth:grant-type:jwt-bearer"),
					to_sign, base64url(signature, len));
	wipe_with_context(form, strlen(form));
	return form;
}

/* The form of a request by client credentials. */
static char *
form_of_credentials(const char *secret)
{
	char	   *encoded = url_encode(secret);
	char	   *form = psprintf("grant_type=client_credentials&client_id=%s&scope=%s&client_secret=%s",
								url_encode(roster_smtp_client_id), url_encode(scope_or(MICROSOFT_SCOPE)), encoded);

	explicit_bzero(encoded, strlen(encoded));
	wipe_with_context(form, strlen(form));
	return form;
}

/* A token is visible ASCII characters. */
static bool
is_token(const char *text)
{
	if (text == NULL || text[0] == '\0')
		return false;
	while (*text > ' ' && *text <= '~')
		text++;
	return *text == '\0';
}

/* What it means that no answer came. */
static char *
words_of_transfer(const HttpResponse *response)
{
	if (response->fault == TRANSFER_FORBIDDEN)
		return pstrdup("minga_roster.allowed_hosts does not let the token endpoint be asked");
	if (response->fault_text == NULL)
		return pstrdup("the token endpoint cannot be reached; the server's log says why");
	return psprintf("the token endpoint cannot be asked: %s", response->fault_text);
}

/* What the answer says; *token is filled where it holds one. */
static char *
words_of_answer(const HttpResponse *response, MailToken *token)
{
	const char *const names[] = {"access_token", "expires_in", "error", "error_description"};
	char	   *values[lengthof(names)];
	bool		is_json = response->len > 0 &&
	read_fields(response->body, response->len, names, values, lengthof(names));
	double		seconds;

	if (is_json && response->status == 200 && is_token(values[0]))
	{
		seconds = values[1] == NULL ? TOKEN_DEFAULT_S : strtod(values[1], NULL);
		if (!(seconds > 0))
			seconds = TOKEN_DEFAULT_S;
		seconds = Min(Max(seconds - TOKEN_MARGIN_S, seconds / 2), TOKEN_MAX_S);
		token->token = values[0];
		token->good_until = GetCurrentTimestamp() + (int64) (seconds * USECS_PER_SEC);
		return NULL;
	}
	if (!is_json || values[2] == NULL)
		return psprintf("the token endpoint answered %d without a token", response->status);
	return psprintf("the token endpoint answered %d: %s", response->status,
					text_without_secrets(printable(values[3] == NULL ? values[2] : psprintf("%s: %s", values[2],
																							 values[3]),
												   WORDS_MAX_BYTES)));
}

/*
 * A new token, in the current memory context, wiped with it.  NULL, else what
 * went wrong: palloc'd, and whether a setting or the secret is what is wrong
 * before anyone is asked.  Not in a transaction; throws on an interrupt.
 */
char *
mail_token_fetch(TransferPool *pool, const char *secret, MailToken *token, bool *is_setting)
{
	HttpRequest request = {0};
	HttpResponse response;
	Transfer   *transfer;
	char	   *words = NULL;
	char	   *form;

	token->token = NULL;
	*is_setting = true;
	if (roster_smtp_user[0] == '\0')
		return pstrdup("minga_roster.smtp_user is not set: whose mailbox sends");
	if (secret[0] == '{')
		form = form_of_key(secret, &words);
	else if (roster_smtp_client_id[0] == '\0')
		return pstrdup("minga_roster.smtp_client_id is not set");
	else
		form = form_of_credentials(secret);
	if (form == NULL)
		return words;
	*is_setting = false;
	request.url = roster_smtp_token_url;
	request.form = form;
	request.max_bytes = ANSWER_MAX_BYTES;
	request.ca_file = roster_smtp_ca_file;
	transfer = http_begin(pool, &request);
	while (!transfer_has_ended(transfer))
		transfer_wait(pool, DT_NOEND);
	http_end(pool, transfer, &response);
	explicit_bzero(form, strlen(form));
	words = response.fault != TRANSFER_OK ? words_of_transfer(&response) : words_of_answer(&response, token);
	if (response.body != NULL)
		explicit_bzero(response.body, response.len);
	http_release(&response);
	return words;
}
