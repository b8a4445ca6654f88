/*
 * keyed_hash.c
 *	  HMACs of what identifies a person, by which a forgotten person is known again
 *	  without being kept.
 *
 * An ID of a student or an address is easily guessed, and a plain hash of it
 * with it.  So the key is a secret of this installation: a random text, sealed
 * in the table secrets under a name of its own, and thus of no use without the
 * key file.  It must not change with that file's key, or all hashes would be
 * lost.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/seal.h"
#include "base/secrets.h"

ROSTER_FUNCTION(roster_keyed_hash);

#define KEY_NAME "forgotten"

/*
 * The key, palloc'd in the given memory context, with whose end it is wiped.
 * Throws where there is none, or where it cannot be opened.
 */
static char *
load_hash_key(MemoryContext context)
{
	char	   *key = NULL;

	SPI_connect();
	if (SPI_execute("SELECT s.binding, s.sealed FROM minga_roster.secrets s"
					" WHERE s.connection OPERATOR(pg_catalog.=) '" KEY_NAME "'", true, 1) != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not read minga_roster.secrets")));
	if (SPI_processed == 1)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		bool		isnull;
		Datum		row_id = SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull);
		bytea	   *sealed = DatumGetByteaPP(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
		char	   *binding = secret_binding(DatumGetCString(DirectFunctionCall1(uuid_out, row_id)), KEY_NAME, "");
		MemoryContext former = MemoryContextSwitchTo(context);

		key = unseal_value(binding, VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed), true);
		MemoryContextSwitchTo(former);
	}
	SPI_finish();
	if (key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("forgotten people cannot be recognized"),
				 errdetail("The key of their hashes is missing, or was sealed with another key than that of "
						   "minga_roster.key_file."),
				 errhint("Put the former key file back. If it is lost, delete all rows of "
						 "minga_roster.forgotten_people and the row \"" KEY_NAME "\" of minga_roster.secrets, "
						 "then forget each person again.")));
	return key;
}

/* keyed_hash(VARIADIC parts): NULL if a part is */
Datum
roster_keyed_hash(PG_FUNCTION_ARGS)
{
	ArrayType  *parts = PG_GETARG_ARRAYTYPE_P(0);
	char	   *key = fcinfo->flinfo->fn_extra;
	Datum	   *values;
	bool	   *nulls;
	int			count;
	pg_hmac_ctx *context;
	bytea	   *result;
	bool		ok;

	deconstruct_array(parts, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			PG_RETURN_NULL();
	}
	if (key == NULL)
		key = fcinfo->flinfo->fn_extra = load_hash_key(fcinfo->flinfo->fn_mcxt);

	result = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	SET_VARSIZE(result, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	/* Nothing throws before the context is freed. */
	context = pg_hmac_create(PG_SHA256);
	ok = context != NULL && pg_hmac_init(context, (const uint8 *) key, strlen(key)) >= 0;
	for (int i = 0; ok && i < count; i++)
	{
		text	   *part = (text *) DatumGetPointer(values[i]);
		uint32		len = pg_hton32((uint32) VARSIZE_ANY_EXHDR(part));

		/* With its length, so that no two lists of parts are one text. */
		ok = pg_hmac_update(context, (const uint8 *) &len, sizeof(len)) >= 0 &&
			pg_hmac_update(context, (const uint8 *) VARDATA_ANY(part), VARSIZE_ANY_EXHDR(part)) >= 0;
	}
	ok = ok && pg_hmac_final(context, (uint8 *) VARDATA(result), PG_SHA256_DIGEST_LENGTH) >= 0;
	if (context != NULL)
		pg_hmac_free(context);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a keyed hash"),
				 errdetail("OpenSSL offers no HMAC with SHA-256."),
				 errhint("Check the OpenSSL configuration of the database server.")));
	PG_RETURN_BYTEA_P(result);
}
