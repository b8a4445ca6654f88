/*
 * origin.c
 *	  Which database this is, in one text: tells a restored copy from the original.
 *
 * It is the token that CREATE EXTENSION draws, and the database's OID.  A dump
 * has neither, so that a copy made from one differs, and so does a database made
 * from a template.  pg_upgrade keeps both, and a physical copy has both.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "base/compat.h"

#define ANUM_TOKEN 2

ROSTER_FUNCTION(roster_server_origin);

/* The token of table minga_roster_internal.origin, palloc'd; NULL where the schema is older than that table. */
static char *
origin_token(void)
{
	Oid			schema = get_namespace_oid("minga_roster_internal", true);
	Oid			relation = OidIsValid(schema) ? get_relname_relid("origin", schema) : InvalidOid;
	char	   *token = NULL;
	Relation	table;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(relation))
		return NULL;
	table = table_open(relation, AccessShareLock);
	scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, ANUM_TOKEN, RelationGetDescr(table), &isnull);

		if (!isnull)
			token = DatumGetCString(DirectFunctionCall1(uuid_out, value));
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return token;
}

/* server_origin() */
Datum
roster_server_origin(PG_FUNCTION_ARGS)
{
	char	   *token = origin_token();

	if (token == NULL)
		token = psprintf(UINT64_FORMAT, GetSystemIdentifier());
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s/%u", token, MyDatabaseId)));
}
