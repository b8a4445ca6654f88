/*
 * version.c
 *	  Whether the schema is of the library's version.  Between an upgrade of the
 *	  package and ALTER EXTENSION UPDATE it is not, and a session that has loaded
 *	  the library keeps it when both are upgraded.
 *
 * The library knows the tables and internal functions of one version, so that
 * neither the door nor a worker goes on with another one.  What is on record can
 * be read and dumped all the same: policies ask SQL functions alone.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "base/error.h"
#include "base/version.h"

/* The version of the schema, palloc'd; NULL where the extension is not there.  In a transaction. */
static char *
schema_version(void)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("minga_roster"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(extensions), &isnull);

		version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return version;
}

/* Throws 55000 where the schema is of another version; not where there is none.  In a transaction. */
void
version_check(void)
{
	char	   *version = schema_version();

	if (version != NULL && strcmp(version, ROSTER_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the library of minga_roster is version %s, and its schema is version %s", ROSTER_VERSION,
						version),
				 errdetail("They must be of one version. Nothing was done."),
				 errhint("After an upgrade of the package: ALTER EXTENSION minga_roster UPDATE. If that was done, "
						 "connect again: a session keeps the library that it has loaded.")));
	if (version != NULL)
		pfree(version);
}
