/*
 * temp_table.c
 *	  Temporary tables of a run: those that a session makes once and that are
 *	  emptied at each commit, those whose columns a people relation decides, and
 *	  names that code of a deployment took in the temporary schema.
 *
 * ON COMMIT DELETE ROWS would truncate all tables of the plan at each commit, also
 * those that have stayed empty, with their TOAST tables and indexes.  Here only
 * what has rows is truncated, so that a small school costs little.
 *
 * CREATE TABLE would look each type up with the rights of the extension's role,
 * which has none in the schemas of a deployment, and is refused behind the door, a
 * security-restricted operation.  Made here, a table needs no right on the types
 * of its columns and runs no code of theirs.
 *
 * What it must survive: a type of the table's name, which code of a deployment
 * may leave in the temporary schema of a worker; a caller with the rights of the
 * extension's role who wants a table of another name in someone else's session.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/toasting.h"
#include "commands/tablespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"

ROSTER_FUNCTION(roster_free_temp_name);
ROSTER_FUNCTION(roster_make_temp_table);
ROSTER_FUNCTION(roster_keep_plan_table);
ROSTER_FUNCTION(roster_has_plan_tables);

/* A table that this session has made for its runs. */
typedef struct PlanTable
{
	Oid			table;
	NameData	name;
	NameData	made_for;
} PlanTable;

static List *plan_tables = NIL;

/* The version of the declaration that they are made by. */
static TransactionId declared_xmin = InvalidTransactionId;
static ItemPointerData declared_tid;

/*
 * A table or type of a temporary schema hides others of its name from what the
 * session does next: behind the door that is a caller's, with rights of its own.
 */
static char *
name_argument(FunctionCallInfo fcinfo)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	require_dba(fcinfo);
	if (strncmp(name, "plan_", strlen("plan_")) != 0 && strncmp(name, "minga_roster ", strlen("minga_roster ")) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" is not the name of a temporary table of a run", name),
				 errhint("Such names begin with \"plan_\" or \"minga_roster \".")));
	return name;
}

/* Drops a type of that name in this session's temporary schema, with all that needs it; a table's row type stays. */
static void
free_temp_name(const char *name)
{
	Oid			namespace;
	Oid			toast_namespace;
	Oid			type;
	Oid			range;
	ObjectAddress planted;

	GetTempNamespaceState(&namespace, &toast_namespace);
	if (!OidIsValid(namespace))
		return;
	type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name), ObjectIdGetDatum(namespace));
	if (!OidIsValid(type))
		return;
	if (OidIsValid(get_typ_typrelid(type)) && get_rel_relkind(get_typ_typrelid(type)) != RELKIND_COMPOSITE_TYPE)
		return;
	/* a multirange goes with its range */
	range = get_multirange_range(type);
	ObjectAddressSet(planted, TypeRelationId, OidIsValid(range) ? range : type);
	performDeletion(&planted, DROP_CASCADE, 0);
	CommandCounterIncrement();
}

/* free_temp_name(name) */
Datum
roster_free_temp_name(PG_FUNCTION_ARGS)
{
	free_temp_name(name_argument(fcinfo));
	PG_RETURN_VOID();
}

/* The elements of an array without NULLs; palloc'd. */
static Datum *
elements(ArrayType *array, Oid type, int length, char align, int *count)
{
	Datum	   *values;

	deconstruct_array(array, type, length, true, align, &values, NULL, count);
	return values;
}

/* The column of a table to be made; throws for a type or collation that is not there. */
static void
init_column(TupleDesc descriptor, int number, const char *name, Oid type, int32 modifier, Oid collation)
{
	if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)) ||
		(OidIsValid(collation) && !SearchSysCacheExists1(COLLOID, ObjectIdGetDatum(collation))))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("type with OID %u or collation with OID %u does not exist", type, collation)));
	TupleDescInitEntry(descriptor, number, name, type, modifier, 0);
	TupleDescInitEntryCollation(descriptor, number, collation);
}

/*
 * make_temp_table(name, columns, types, modifiers, collations): an empty temporary
 * table of the current user, dropped at the end of the transaction.
 */
Datum
roster_make_temp_table(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	int			count;
	int			counts[3];
	Datum	   *columns;
	Datum	   *types;
	Datum	   *modifiers;
	Datum	   *collations;
	TupleDesc	descriptor;
	Oid			namespace;
	Oid			table;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &columns, NULL, &count);
	types = elements(PG_GETARG_ARRAYTYPE_P(2), OIDOID, sizeof(Oid), TYPALIGN_INT, &counts[0]);
	modifiers = elements(PG_GETARG_ARRAYTYPE_P(3), INT4OID, sizeof(int32), TYPALIGN_INT, &counts[1]);
	collations = elements(PG_GETARG_ARRAYTYPE_P(4), OIDOID, sizeof(Oid), TYPALIGN_INT, &counts[2]);
	if (counts[0] != count || counts[1] != count || counts[2] != count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("a column of temporary table \"%s\" lacks its type, modifier or collation", name)));
	descriptor = CreateTemplateTupleDesc(count);
	for (int i = 0; i < count; i++)
		init_column(descriptor, i + 1, TextDatumGetCString(columns[i]), DatumGetObjectId(types[i]),
					DatumGetInt32(modifiers[i]), DatumGetObjectId(collations[i]));
	/* throws where the role may make no temporary tables in this database */
	namespace = LookupCreationNamespace("pg_temp");
	free_temp_name(name);
	table = heap_create_with_catalog(name, namespace, GetDefaultTablespace(RELPERSISTENCE_TEMP, false), InvalidOid,
									 InvalidOid, InvalidOid, GetUserId(), HEAP_TABLE_AM_OID, descriptor, NIL,
									 RELKIND_RELATION, RELPERSISTENCE_TEMP, false, false, ONCOMMIT_DROP, (Datum) 0,
									 false, false, true, InvalidOid, NULL);
	CommandCounterIncrement();
	NewRelationCreateToastTable(table, (Datum) 0);
	CommandCounterIncrement();
	PG_RETURN_OID(table);
}

/* How many blocks a table of this session has, which no one else locks or changes. */
static BlockNumber
blocks_of(Oid table)
{
	Relation	relation = OidIsValid(table) ? RelationIdGetRelation(table) : NULL;
	BlockNumber blocks;

	if (relation == NULL)
		return 0;
	blocks = RelationGetNumberOfBlocks(relation);
	RelationClose(relation);
	return blocks;
}

/* Empties a table of this session, if it has rows.  It may be gone. */
static void
empty_plan_table(Oid table)
{
	Relation	relation;

	if (blocks_of(table) == 0)
		return;
	relation = table_open(table, AccessExclusiveLock);
	if (relation->rd_islocaltemp && blocks_of(relation->rd_rel->reltoastrelid) == 0)
		table_relation_nontransactional_truncate(relation);
	else if (relation->rd_islocaltemp)
		heap_truncate(list_make1_oid(table));
	table_close(relation, NoLock);
}

/* Before each commit of a transaction that may have filled tables of the plan. */
static void
empty_plan_tables(XactEvent event, void *arg)
{
	ListCell   *cell;

	if (event != XACT_EVENT_PRE_COMMIT || (MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE) == 0)
		return;
	foreach(cell, plan_tables)
		empty_plan_table(((PlanTable *) lfirst(cell))->table);
}

/* Whether the declaration is still that by which the tables were made; notes it. */
static bool
is_same_declaration(Oid declaration)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(declaration));
	bool		same;

	if (!HeapTupleIsValid(tuple))
		return false;
	same = declared_xmin == HeapTupleHeaderGetRawXmin(tuple->t_data) &&
		ItemPointerEquals(&declared_tid, &tuple->t_self);
	declared_xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	declared_tid = tuple->t_self;
	ReleaseSysCache(tuple);
	return same;
}

static bool
is_made_for(const PlanTable *plan_table, const char *made_for)
{
	return strcmp(NameStr(plan_table->made_for), made_for) == 0;
}

/* Forgets the tables that were made for this; they stay. */
static void
forget_plan_tables(const char *made_for)
{
	ListCell   *cell;

	foreach(cell, plan_tables)
	{
		PlanTable  *plan_table = lfirst(cell);

		if (is_made_for(plan_table, made_for))
		{
			plan_tables = foreach_delete_current(plan_tables, cell);
			pfree(plan_table);
		}
	}
}

/*
 * keep_plan_table(made_for, name, table): the table, which this session has made
 * as it is declared, is emptied at each commit.
 */
Datum
roster_keep_plan_table(PG_FUNCTION_ARGS)
{
	static bool is_registered = false;
	char	   *made_for = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			table = PG_GETARG_OID(1);
	char	   *name = get_rel_name(table);
	MemoryContext caller;
	PlanTable  *plan_table;
	ListCell   *cell;

	require_dba(fcinfo);
	if (name == NULL || strncmp(name, "plan_", strlen("plan_")) != 0 || !isTempNamespace(get_rel_namespace(table)))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table with OID %u is not a temporary table of a run", table),
				 errhint("Such tables are made by make_plan_tables.")));
	if (!is_registered)
	{
		RegisterXactCallback(empty_plan_tables, NULL);
		is_registered = true;
	}
	foreach(cell, plan_tables)
	{
		if (((PlanTable *) lfirst(cell))->table == table)
			PG_RETURN_VOID();
	}
	caller = MemoryContextSwitchTo(TopMemoryContext);
	plan_table = palloc(sizeof(PlanTable));
	plan_table->table = table;
	namestrcpy(&plan_table->name, name);
	namestrcpy(&plan_table->made_for, made_for);
	plan_tables = lappend(plan_tables, plan_table);
	MemoryContextSwitchTo(caller);
	PG_RETURN_VOID();
}

/*
 * has_plan_tables(made_for, declaration): whether this session has made all
 * tables for this, as the function declares them, and has them still.
 */
Datum
roster_has_plan_tables(PG_FUNCTION_ARGS)
{
	char	   *made_for = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			namespace = LookupExplicitNamespace("pg_temp", true);
	bool		has = false;
	ListCell   *cell;

	require_dba(fcinfo);
	if (!is_same_declaration(PG_GETARG_OID(1)))
	{
		while (plan_tables != NIL)
			forget_plan_tables(NameStr(((PlanTable *) linitial(plan_tables))->made_for));
		PG_RETURN_BOOL(false);
	}
	foreach(cell, plan_tables)
	{
		PlanTable  *plan_table = lfirst(cell);

		if (!is_made_for(plan_table, made_for))
			continue;
		has = get_relname_relid(NameStr(plan_table->name), namespace) == plan_table->table;
		if (!has)
			break;
	}
	if (!has)
		forget_plan_tables(made_for);
	PG_RETURN_BOOL(has);
}
