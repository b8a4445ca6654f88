/*
 * member.c
 *	  Partitions of the stage: as members of the extension, and emptied at once.
 *
 * A member is not dumped by itself, and goes with DROP EXTENSION.  ALTER EXTENSION
 * ... ADD TABLE is for the owner of the extension, a superuser, while partitions
 * are made and dropped by runs, with the rights of the extension's role.
 *
 * TRUNCATE gives a partition new files, which costs entries in the catalog, WAL and
 * a few milliseconds, for a small school more than all else.  As VACUUM does, what
 * no one reads is cut off instead.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"
#include "base/member.h"

ROSTER_FUNCTION(roster_make_member);
ROSTER_FUNCTION(roster_empty_member);

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

static BlockNumber
blocks_of(Oid table)
{
	Relation	relation = table_open(table, AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);

	table_close(relation, AccessShareLock);
	return blocks;
}

/*
 * Whether member_empty can empty the partition: it is empty, or no one else has
 * it locked, and no value of its rows is stored apart.  Then it is locked until
 * the end of the transaction.
 */
bool
member_can_be_emptied(Oid partition)
{
	Relation	relation;
	bool		can;

	if (blocks_of(partition) == 0)
		return true;
	if (!ConditionalLockRelationOid(partition, AccessExclusiveLock))
		return false;
	relation = try_table_open(partition, NoLock);
	if (relation == NULL)
		return false;
	can = relation->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED && relation->rd_rel->relispartition &&
		(!OidIsValid(relation->rd_rel->reltoastrelid) || blocks_of(relation->rd_rel->reltoastrelid) == 0);
	table_close(relation, NoLock);
	return can;
}

/* Empties a partition for which member_can_be_emptied.  Not undone where the transaction is rolled back. */
void
member_empty(Oid partition)
{
	Relation	relation;

	if (blocks_of(partition) == 0)
		return;
	relation = table_open(partition, AccessExclusiveLock);
	table_relation_nontransactional_truncate(relation);
	table_close(relation, NoLock);
}

/* empty_member(partition): empties it at once and for good, or says that it cannot. */
Datum
roster_empty_member(PG_FUNCTION_ARGS)
{
	Oid			partition = PG_GETARG_OID(0);

	require_dba(fcinfo);
	if (get_rel_relkind(partition) != RELKIND_RELATION || !member_can_be_emptied(partition))
		PG_RETURN_BOOL(false);
	member_empty(partition);
	PG_RETURN_BOOL(true);
}
