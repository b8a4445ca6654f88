/*
 * secrets.c
 *	  Client secrets and the mail password, sealed in the table secrets.
 *
 * A sealed value is bound to an id of its row, the name of the connection, and
 * the origins that it was given for (scheme, host and port of url and
 * token_url).  So a secret opens for no other row and for no other server.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/seal.h"
#include "base/secrets.h"

ROSTER_FUNCTION(roster_seal);

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

/* seal(row_id, connection, origins, secret) */
Datum
roster_seal(PG_FUNCTION_ARGS)
{
	char	   *row_id = DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0)));
	char	   *binding = secret_binding(row_id, text_to_cstring(PG_GETARG_TEXT_PP(1)),
										 text_to_cstring(PG_GETARG_TEXT_PP(2)));
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(3));
	Size		len;
	char	   *sealed;
	bytea	   *result;

	sealed = seal_value(binding, value, &len);
	explicit_bzero(value, strlen(value));
	result = palloc(VARHDRSZ + len);
	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), sealed, len);
	PG_RETURN_BYTEA_P(result);
}
