/*
 * secrets.c
 *	  Client secrets and the mail password, sealed in the table secrets, and the
 *	  ways in which they come there: SQL text, a file, or sealed by the client.
 *
 * A sealed value is bound to an id of its row, the name of the connection, and
 * the origins that it was given for (scheme, host and port of url and
 * token_url).  So a secret opens for no other row and for no other server.  What a
 * client sealed names both in its first line, its label, so that who comes by the
 * sealed text can have it stored nowhere else.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"
#include "base/key_file.h"
#include "base/memory.h"
#include "base/seal.h"
#include "base/secret_file.h"
#include "base/secrets.h"
#include "base/text.h"

ROSTER_FUNCTION(roster_clean_secret);
ROSTER_FUNCTION(roster_seal);
ROSTER_FUNCTION(roster_seal_file);
ROSTER_FUNCTION(roster_seal_sent);
ROSTER_FUNCTION(roster_reseal);
ROSTER_FUNCTION(roster_make_key_pair);
ROSTER_FUNCTION(roster_opens);
ROSTER_FUNCTION(roster_read_key_file);

/* What a secret or token of a connection is bound to, beside the id of its row; palloc'd. */
char *
secret_binding(const char *row_id, const char *connection, const char *origins)
{
	return psprintf("%s\n%s\n%s", row_id, connection, origins);
}

/*
 * The secret of a connection, or the mail password for "smtp": palloc'd in the
 * caller's memory context, for the caller to wipe.  origins is where the caller
 * is about to send it (secret_origins).  Runs in the caller's transaction.
 * Throws 28000 where none has been set, and as unseal_value.
 */
char *
load_secret(const char *connection, const char *origins)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1];
	MemoryContext caller = CurrentMemoryContext;
	char	   *binding = NULL;
	char	   *sealed = NULL;
	Size		sealed_len = 0;
	char	   *value;

	values[0] = CStringGetTextDatum(connection);
	SPI_connect();
	if (SPI_execute_with_args("SELECT s.binding, s.sealed FROM minga_roster.secrets s"
							  " WHERE s.connection OPERATOR(pg_catalog.=) $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not read minga_roster.secrets")));
	if (SPI_processed == 1)
	{
		bool		isnull;
		bytea	   *bytes;
		MemoryContext spi;

		bytes = DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
		spi = MemoryContextSwitchTo(caller);
		binding = DatumGetCString(DirectFunctionCall1(uuid_out,
													  SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
																	&isnull)));
		sealed_len = VARSIZE_ANY_EXHDR(bytes);
		sealed = palloc(sealed_len);
		memcpy(sealed, VARDATA_ANY(bytes), sealed_len);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();

	if (sealed == NULL && strcmp(connection, "smtp") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("no password for the mail server has been set"),
				 errdetail("minga_roster.smtp_user names a user, and no password is stored for it."),
				 errhint("SELECT minga_roster.roster_set_secret('smtp', '...') stores it.")));
	if (sealed == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("connection \"%s\" has no client secret", connection),
				 errhint("SELECT minga_roster.roster_set_secret(%s, '...') stores the secret that the school made in "
						 "its student information system.",
						 quote_literal_cstr(connection))));
	value = unseal_value(secret_binding(binding, connection, origins), sealed, sealed_len, false);
	pfree(sealed);
	pfree(binding);
	return value;
}

/* Whether a character is a space of any kind: Unicode's White_Space that is no control. */
static bool
is_space(pg_wchar character)
{
	return character == ' ' || character == 0xA0 || character == 0x1680 ||
		(character >= 0x2000 && character <= 0x200A) || character == 0x202F || character == 0x205F ||
		character == 0x3000;
}

/* Whether the text, which is not empty, begins or ends with a space. */
static bool
has_space_around(const char *text, int len)
{
	const char *last = text +len - 1;

	while (last > text &&((unsigned char) *last & 0xC0) == 0x80)
		last--;
	return is_space(utf8_to_unicode((const unsigned char *) text)) ||
		is_space(utf8_to_unicode((const unsigned char *) last));
}

/*
 * A key file in JSON, such as Google's of a service account, in one line: between its strings a line end or a tab is
 * as good as a space, and inside of one there is none.
 */
static void
put_json_into_a_line(char *secret)
{
	if (secret[0] != '{')
		return;
	for (char *c = secret; *c != '\0'; c++)
	{
		if (*c == '\n' || *c == '\r' || *c == '\t')
			*c = ' ';
	}
	for (int len = strlen(secret); len > 0 && secret[len - 1] == ' '; len--)
		secret[len - 1] = '\0';
}

/* Throws 22023 for a secret that is none: empty, or with what only a mistake in copying puts around it or into it. */
static void
check_secret(const char *secret)
{
	int			len = strlen(secret);

	if (len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the secret is empty"),
				 errhint("Copy the client secret as the student information system shows it (for the mail server, the "
						 "password).")));
	if (has_space_around(secret, len) || !text_is_clean(secret, len))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the secret has whitespace around it or control characters in it"),
				 errdetail("It has %d characters.", pg_mbstrlen_with_len(secret, len)),
				 errhint("Copy it again, without spaces or a line end.")));
}

/* clean_secret(secret) */
Datum
roster_clean_secret(PG_FUNCTION_ARGS)
{
	char	   *secret = PG_ARGISNULL(0) ? pstrdup("") : text_to_cstring(PG_GETARG_TEXT_PP(0));

	wipe_with_context(secret, strlen(secret));
	put_json_into_a_line(secret);
	check_secret(secret);
	PG_RETURN_TEXT_P(secret[0] == '{' ? cstring_to_text(secret) : PG_GETARG_TEXT_PP(0));
}

/* What the arguments row_id, connection and origins of a function, from that one on, bind a value to; palloc'd. */
static char *
binding_of_arguments(FunctionCallInfo fcinfo, int first)
{
	return secret_binding(DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(first))),
						  text_to_cstring(PG_GETARG_TEXT_PP(first + 1)), text_to_cstring(PG_GETARG_TEXT_PP(first + 2)));
}

static bytea *
bytes_of(const char *data, Size len)
{
	return (bytea *) cstring_to_text_with_len(data, len);
}

/* A secret sealed for what the first arguments bind it to. */
static bytea *
sealed_secret(FunctionCallInfo fcinfo, const char *secret)
{
	Size		len;
	char	   *sealed = seal_value(binding_of_arguments(fcinfo, 0), secret, &len);

	return bytes_of(sealed, len);
}

/* seal(row_id, connection, origins, secret) */
Datum
roster_seal(PG_FUNCTION_ARGS)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(3));
	bytea	   *result;

	wipe_with_context(value, strlen(value));
	result = sealed_secret(fcinfo, value);
	explicit_bzero(value, strlen(value));
	PG_RETURN_BYTEA_P(result);
}

/* Throws 42501 where the current user may not write secrets: a file is read, and goes, for no other reason. */
static void
check_may_store_secrets(void)
{
	Oid			secrets = get_relname_relid("secrets", get_namespace_oid("minga_roster", false));

	if (pg_class_aclcheck(secrets, GetUserId(), ACL_INSERT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, "secrets");
}

/* seal_file(row_id, connection, origins, name) */
Datum
roster_seal_file(PG_FUNCTION_ARGS)
{
	char	   *value;
	bytea	   *result;

	check_may_store_secrets();
	value = secret_file_take(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	put_json_into_a_line(value);
	check_secret(value);
	result = sealed_secret(fcinfo, value);
	explicit_bzero(value, strlen(value));
	PG_RETURN_BYTEA_P(result);
}

/* The secret behind the label and the end of its line, or NULL where the text has another first line. */
static char *
behind_label(char *opened, Size len, const char *label)
{
	Size		label_len = strlen(label);

	if (len <= label_len || memcmp(opened, label, label_len) != 0 || opened[label_len] != '\n' ||
		!pg_verify_mbstr(PG_UTF8, opened, len, true))
		return NULL;
	opened += label_len + 1;
	len -= label_len + 1;
	if (len > 0 && opened[len - 1] == '\n')
		len--;
	opened[len] = '\0';
	return opened;
}

/* seal_sent(row_id, connection, origins, label, sent, pair_id, public_key, private_key): the last three may be NULL */
Datum
roster_seal_sent(PG_FUNCTION_ARGS)
{
	char	   *label;
	char	   *private_key = NULL;
	char	   *opened = NULL;
	char	   *secret = NULL;
	Size		len = 0;
	bytea	   *result;

	for (int i = 0; i < 5; i++)
	{
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	}
	label = text_to_cstring(PG_GETARG_TEXT_PP(3));
	if (!PG_ARGISNULL(5) && !PG_ARGISNULL(6) && !PG_ARGISNULL(7))
	{
		bytea	   *sealed = PG_GETARG_BYTEA_PP(7);

		private_key = unseal_value(secret_binding(DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(5))),
												  "", text_to_cstring(PG_GETARG_TEXT_PP(6))),
								   VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed), true);
	}
	if (private_key != NULL)
	{
		opened = key_pair_open(private_key, text_to_cstring(PG_GETARG_TEXT_PP(4)), &len);
		explicit_bzero(private_key, strlen(private_key));
	}
	if (opened != NULL)
		secret = behind_label(opened, len, label);
	/* One error for whatever is wrong, so that a sender learns nothing of what was sealed by others. */
	if (secret == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the sealed secret cannot be opened"),
				 errdetail("It was altered or cut off, was sealed with another public key, or its first line is not "
						   "\"%s\".", label),
				 errhint("Seal it again, behind that line, with the key that roster_public_key() returns now.")));
	check_secret(secret);
	result = sealed_secret(fcinfo, secret);
	explicit_bzero(secret, strlen(secret));
	PG_RETURN_BYTEA_P(result);
}

/* reseal(row_id, connection, origins, sealed): NULL where it does not open */
Datum
roster_reseal(PG_FUNCTION_ARGS)
{
	bytea	   *sealed = PG_GETARG_BYTEA_PP(3);
	Size		len;
	char	   *resealed = reseal_value(binding_of_arguments(fcinfo, 0), VARDATA_ANY(sealed),
										VARSIZE_ANY_EXHDR(sealed), &len);

	if (resealed == NULL)
		PG_RETURN_NULL();
	/* Else a crash could bring back what was sealed with a key that is no longer in the file. */
	ForceSyncCommit();
	PG_RETURN_BYTEA_P(bytes_of(resealed, len));
}

/* opens(row_id, connection, origins, sealed) */
Datum
roster_opens(PG_FUNCTION_ARGS)
{
	bytea	   *sealed = PG_GETARG_BYTEA_PP(3);
	char	   *value;

	require_dba(fcinfo);
	value = unseal_value(binding_of_arguments(fcinfo, 0), VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed), true);
	if (value == NULL)
		PG_RETURN_BOOL(false);
	explicit_bzero(value, strlen(value));
	PG_RETURN_BOOL(true);
}

/* read_key_file() */
Datum
roster_read_key_file(PG_FUNCTION_ARGS)
{
	KeyRing		ring;

	require_dba(fcinfo);
	key_ring_load(&ring);
	key_ring_wipe(&ring);
	PG_RETURN_VOID();
}

/* make_key_pair(pair_id, OUT public_key, OUT private_key) */
Datum
roster_make_key_pair(PG_FUNCTION_ARGS)
{
	char	   *public_key;
	char	   *private_key;
	char	   *sealed;
	Size		len;
	TupleDesc	tupdesc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("function returning record called in context that cannot accept type record")));
	never_dump_core();
	private_key = key_pair_make(&public_key);
	sealed = seal_value(secret_binding(DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0))), "",
									   public_key),
						private_key, &len);
	explicit_bzero(private_key, strlen(private_key));
	values[0] = CStringGetTextDatum(public_key);
	values[1] = PointerGetDatum(bytes_of(sealed, len));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls)));
}
