/*
 * member.c
 *	  Partitions of the stage as members of the extension.
 *
 * A member is not dumped by itself, and goes with DROP EXTENSION.  ALTER EXTENSION
 * ... ADD TABLE is for the owner of the extension, a superuser, while partitions
 * are made and dropped by runs, with the rights of the extension's role.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"

ROSTER_FUNCTION(roster_make_member);

/* make_member(partition, is_member): a partition of a table of the extension is one of its members, or is no more. */
Datum
roster_make_member(PG_FUNCTION_ARGS)
{
	Oid			partition = PG_GETARG_OID(0);
	bool		is_member = PG_GETARG_BOOL(1);
	Oid			extension = get_extension_oid("minga_roster", false);
	ObjectAddress member;
	ObjectAddress whole;

	require_dba(fcinfo);
	if (!get_rel_relispartition(partition) ||
		getExtensionOfObject(RelationRelationId, get_partition_parent(partition, true)) != extension)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table with OID %u is not a partition of the stage", partition),
				 errhint("Only partitions of \"staged_users\" and \"staged_orgs\" come and go as members.")));
	ObjectAddressSet(member, RelationRelationId, partition);
	ObjectAddressSet(whole, ExtensionRelationId, extension);
	deleteDependencyRecordsForClass(RelationRelationId, partition, ExtensionRelationId, DEPENDENCY_EXTENSION);
	if (is_member)
		recordDependencyOn(&member, &whole, DEPENDENCY_EXTENSION);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}
