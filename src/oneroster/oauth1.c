/*
 * oauth1.c
 *	  OAuth 1.0a (RFC 5849) for a client alone: the Authorization header of a
 *	  request that is signed with HMAC, without a token.
 *
 * The signature covers the URL as it goes over the wire, so that it is taken
 * apart by the same parser that sends it.  Names and values of the query are
 * decoded and encoded again, since servers compare bytes: a quote must be %27,
 * a blank %20, and sorting goes by bytes and never by a locale.
 */
#include "postgres.h"

#include <time.h>

#include "common/base64.h"
#include "common/hmac.h"
#include "common/sha1.h"
#include "common/sha2.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/resowner.h"

#include "base/error.h"
#include "net/url.h"
#include "oneroster/oauth1.h"

#define NONCE_BYTES 16

/* A parameter in the encoding of RFC 5849, 3.6. */
typedef struct Parameter
{
	char	   *name;
	char	   *value;
} Parameter;

static void
append_encoded_byte(StringInfo out, unsigned char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '-' || c == '.' || c == '_' || c == '~')
		appendStringInfoChar(out, c);
	else
		appendStringInfo(out, "%%%02X", c);
}

static char *
encode(const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	for (; *text !='\0'; text ++)
		append_encoded_byte(&out, (unsigned char) *text);
	return out.data;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = pg_ascii_tolower((unsigned char) c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A name or value of a query, form-encoded as it may be, in the encoding of signatures. */
static char *
encode_anew(const char *text, int len)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < len; i++)
	{
		if (text[i] == '%' && i + 2 < len && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0)
		{
			append_encoded_byte(&out, (unsigned char) (hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
			i += 2;
		}
		else
			append_encoded_byte(&out, text[i] == '+' ? ' ' : (unsigned char) text[i]);
	}
	return out.data;
}

static List *
add_parameter(List *parameters, char *name, char *value)
{
	Parameter  *parameter = palloc(sizeof(Parameter));

	parameter->name = name;
	parameter->value = value;
	return lappend(parameters, parameter);
}

static List *
add_query(List *parameters, const char *query)
{
	while (query != NULL && *query != '\0')
	{
		int			len = strcspn(query, "&");
		const char *equals = memchr(query, '=', len);
		int			name_len = equals == NULL ? len : equals - query;

		if (len > 0)
			parameters = add_parameter(parameters, encode_anew(query, name_len),
									   equals == NULL ? pstrdup("") : encode_anew(equals + 1, len - name_len - 1));
		query += len;
		if (*query == '&')
			query++;
	}
	return parameters;
}

static int
by_bytes(const ListCell *a, const ListCell *b)
{
	const Parameter *left = lfirst(a);
	const Parameter *right = lfirst(b);
	int			names = strcmp(left->name, right->name);

	return names != 0 ? names : strcmp(left->value, right->value);
}

/* RFC 5849, 3.4.1; palloc'd. */
static char *
signature_base(const char *method, const UrlParts *url, List *parameters)
{
	StringInfoData normalized;
	ListCell   *cell;

	list_sort(parameters, by_bytes);
	initStringInfo(&normalized);
	foreach(cell, parameters)
	{
		const Parameter *parameter = lfirst(cell);

		appendStringInfo(&normalized, "%s%s=%s", normalized.len > 0 ? "&" : "", parameter->name, parameter->value);
	}
	return psprintf("%s&%s&%s", method,
					encode(psprintf("%s://%s%s%s%s", url->scheme, url->host, url->port == NULL ? "" : ":",
									url->port == NULL ? "" : url->port, url->path)),
					encode(normalized.data));
}

/* HMAC of a text in Base64, palloc'd. */
static char *
hmac_base64(pg_cryptohash_type hash, const char *key, const char *text)
{
	int			len = hash == PG_SHA1 ? SHA1_DIGEST_LENGTH : PG_SHA256_DIGEST_LENGTH;
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *encoded = palloc0(pg_b64_enc_len(len) + 1);
	ResourceOwner former = CurrentResourceOwner;
	ResourceOwner owner = ResourceOwnerCreate(former, "minga_roster signature");
	pg_hmac_ctx *volatile context = NULL;
	volatile bool ok = false;

	/* The context is kept track of by a resource owner, which there is none of outside a transaction. */
	CurrentResourceOwner = owner;
	PG_TRY();
	{
		context = pg_hmac_create(hash);
		ok = context != NULL &&
			pg_hmac_init(context, (const uint8 *) key, strlen(key)) >= 0 &&
			pg_hmac_update(context, (const uint8 *) text, strlen(text)) >= 0 &&
			pg_hmac_final(context, digest, len) >= 0 &&
			pg_b64_encode((const void *) digest, len, encoded, pg_b64_enc_len(len)) >= 0;
	}
	PG_FINALLY();
	{
		if (context != NULL)
			pg_hmac_free(context);
		CurrentResourceOwner = former;
		ResourceOwnerDelete(owner);
	}
	PG_END_TRY();
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not sign a request"),
				 errdetail("The cryptographic library of the database server offers no %s.", hash == PG_SHA1 ?
						   "HMAC-SHA1" : "HMAC-SHA256"),
				 errhint("Ask the school for another kind of access (auth), or ask the DBA to check the OpenSSL "
						 "configuration of the database server.")));
	return encoded;
}

/*
 * The value of the Authorization header for one request, palloc'd: a time and a
 * nonce of its own, and the signature.  The secret is nowhere in it.
 */
char *
oauth1_authorization(pg_cryptohash_type hash, const char *client_id, const char *secret, const char *method,
					 const char *url)
{
	const char *parameters_sent[][2] = {
		{"oauth_consumer_key", client_id},
		{"oauth_nonce", NULL},
		{"oauth_signature_method", hash == PG_SHA1 ? "HMAC-SHA1" : "HMAC-SHA256"},
		{"oauth_timestamp", psprintf(INT64_FORMAT, (int64) time(NULL))},
		{"oauth_version", "1.0"},
	};
	uint8		random[NONCE_BYTES];
	char		nonce[2 * NONCE_BYTES + 1];
	UrlParts	parts;
	const char *why;
	List	   *parameters;
	char	   *encoded;
	char	   *key;
	char	   *signature;
	StringInfoData header;

	if (!url_parse(url, &parts, &why))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a URL of the connection cannot be read"),
				 errdetail("%s", why),
				 errhint("Set it again with roster_configure(url => ...).")));
	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not make a random number for a signature")));
	for (int i = 0; i < NONCE_BYTES; i++)
		snprintf(nonce + 2 * i, 3, "%02x", random[i]);
	parameters_sent[1][1] = nonce;

	parameters = add_query(NIL, parts.query);
	initStringInfo(&header);
	appendStringInfoString(&header, "OAuth ");
	for (int i = 0; i < lengthof(parameters_sent); i++)
	{
		char	   *value = encode(parameters_sent[i][1]);

		parameters = add_parameter(parameters, pstrdup(parameters_sent[i][0]), value);
		appendStringInfo(&header, "%s=\"%s\", ", parameters_sent[i][0], value);
	}
	encoded = encode(secret);
	key = palloc(strlen(encoded) + 2);
	strcpy(key, encoded);
	strcat(key, "&");
	explicit_bzero(encoded, strlen(encoded));
	signature = hmac_base64(hash, key, signature_base(method, &parts, parameters));
	explicit_bzero(key, strlen(key));
	appendStringInfo(&header, "oauth_signature=\"%s\"", encode(signature));
	return header.data;
}
