/*
 * as_owner.c
 *	  The one way to the people relation: runs a statement with the rights of
 *	  the relation's owner, so that a deployment's triggers and defaults never
 *	  get those of the worker.
 *
 * Must survive whatever such a trigger raises or catches, operators, functions,
 * casts and types that others made in any schema, and let no data of a person
 * out in an error: texts of data exceptions, constraint violations and RAISE
 * may quote a row.  It also tells errors that one row may have caused, so that
 * the others can be written, from those of the server and of the relation.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "base/as_owner.h"
#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"
#include "base/lock_wait.h"
#include "base/plain_role.h"
#include "base/redact.h"
#include "base/session.h"
#include "base/temp_rows.h"

/* Takes the rows of a query into a temp table. */
typedef struct RowReceiver
{
	DestReceiver receiver;
	Relation	target;
	TempRows   *rows;
	Datum	   *values;			/* of a row for the table */
	int			uuid_column;	/* which is a text in the table; -1: none */
	text	   *uuid;
} RowReceiver;

#define UUID_TEXT_LENGTH 36

/*
 * What the last statement ran into, for owner_error: told is empty where its
 * text may quote a person, and row is what the statement last set the setting
 * to, the change of the row that it was writing.
 */
static bool error_of_a_row = false;
static char error_told[256] = "";
static char error_row[16] = "";
#define ROW_SETTING "roster_write.change"

volatile sig_atomic_t as_owner_stop = false;
volatile sig_atomic_t as_owner_runs = false;

ROSTER_FUNCTION(roster_as_owner);
ROSTER_FUNCTION(roster_read_as_owner);
ROSTER_FUNCTION(roster_owner_error);

/* How a statement names the relation; palloc'd. */
static char *
relation_name(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation));
}

/*
 * The owner of a people relation, with whose rights statements run.  Throws
 * where it is gone, and where it belongs to a superuser or a role that can become
 * one, whose rights everyone would get who may write a trigger or a default there.
 * What else is no relation for people is check_people_relation's to say.
 */
static Oid
people_owner(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner;
	bool		is_view;
	char	   *found;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("people relation with OID %u does not exist", relation),
				 errdetail("It was dropped after it was attached."),
				 errhint("Ask the DBA to restore it, or attach another one with roster_attach_people and "
						 "roster_configure.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	is_view = ((Form_pg_class) GETSTRUCT(tuple))->relkind == RELKIND_VIEW;
	ReleaseSysCache(tuple);
	found = more_than_plain(owner);
	if (found != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("relation \"%s\" belongs to %s", relation_name(relation), found),
				 errdetail("Its triggers, defaults and policies would run with that role's rights."),
				 errhint("Give it a plain owner (if there is none, CREATE ROLE people_owner NOLOGIN): ALTER %s %s "
						 "OWNER TO people_owner.",
						 is_view ? "VIEW" : "TABLE", relation_name(relation))));
	return owner;
}

/*
 * Could one row of the statement be to blame, so that the others can be written
 * without it?  Whatever code of the deployment raises for a row, and what the
 * server raises for a value; not what it says of itself, of locks, or of the
 * statement as a whole.
 */
static bool
may_be_of_a_row(const ErrorData *edata, bool has_begun)
{
	int			category = ERRCODE_TO_CATEGORY(edata->sqlerrcode);

	switch (category)
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_CONFIG_FILE_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return false;
		default:
			break;
	}
	if (!has_begun || edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return false;
	if (error_is_from_within(edata))
		return true;
	switch (category)
	{
		case ERRCODE_CARDINALITY_VIOLATION:
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
		case ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION:
		case ERRCODE_WITH_CHECK_OPTION_VIOLATION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_PLPGSQL_ERROR:
			return true;
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
			/* a value that names an object, as one cast to regrole */
			return edata->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE;
		default:
			return false;
	}
}

/* Is it a table without a partition for the row?  The text quotes the row's values. */
static bool
lacks_partition(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_CHECK_VIOLATION && !error_is_from_within(edata) &&
		edata->filename != NULL && strcmp(edata->filename, "execPartition.c") == 0;
}

/* Raises what the statement ran into as an error of ours; edata is palloc'd by the caller. */
static void
rethrow(Oid relation, bool reading, bool has_begun, ErrorData *edata)
{
	char	   *name = relation_name(relation);
	char	   *waited = edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ? lock_wait_detail() : NULL;
	StringInfoData found;

	error_of_a_row = may_be_of_a_row(edata, has_begun);
	initStringInfo(&found);
	if (!error_may_quote_data(edata, has_begun))
	{
		appendStringInfo(&found, "The statement failed with: %s.", edata->message);
		strlcpy(error_told, edata->message,
				pg_mbcliplen(edata->message, strlen(edata->message), sizeof(error_told) - 1) + 1);
	}
	else
		appendStringInfo(&found, "The statement failed with SQLSTATE %s; its text may hold people's data and is left "
						 "out.",
						 unpack_sql_state(edata->sqlerrcode));
	if (lacks_partition(edata))
	{
		appendStringInfoString(&found, " No partition takes the row.");
		strlcpy(error_told, "no partition takes the person", sizeof(error_told));
	}
	if (waited != NULL)
		appendStringInfo(&found, " %s", waited);
	/* a function may give a person's name for one of these */
	if (edata->constraint_name && !error_is_from_within(edata))
		appendStringInfo(&found, " Constraint \"%s\".", edata->constraint_name);
	if (edata->table_name && !error_is_from_within(edata))
		appendStringInfo(&found, " Table \"%s\".", edata->table_name);
	if (edata->column_name && !error_is_from_within(edata))
		appendStringInfo(&found, " Column \"%s\".", edata->column_name);

	ereport(ERROR,
			(errcode(edata->sqlerrcode),
			 reading ? errmsg("could not read from the people relation \"%s\"", name)
			 : errmsg("could not write to the people relation \"%s\"", name),
			 errdetail_internal("%s", found.data),
			 lacks_partition(edata) ? errhint("No people were changed. Ask the DBA to create the partition for the "
											  "site.")
			 : waited != NULL ? errhint("No people were changed. Ask the DBA to end the transaction that holds the "
										"lock, or to raise minga_roster.lock_timeout. An evening is tried again.")
			 : errhint("No people were changed. Ask the DBA to check the relation, its triggers, constraints, "
					   "policies and the rights of its owner."),
			 edata->schema_name ? err_generic_string(PG_DIAG_SCHEMA_NAME, edata->schema_name) : 0,
			 edata->table_name ? err_generic_string(PG_DIAG_TABLE_NAME, edata->table_name) : 0,
			 edata->column_name ? err_generic_string(PG_DIAG_COLUMN_NAME, edata->column_name) : 0,
			 edata->constraint_name ? err_generic_string(PG_DIAG_CONSTRAINT_NAME, edata->constraint_name) : 0));
}

/* Whether a relation is a temporary table of the run, which this role has made in this session. */
static bool
is_table_of_run(Oid relation, Oid role)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Form_pg_class class;
	bool		is;

	if (!HeapTupleIsValid(tuple))
		return false;
	class = (Form_pg_class) GETSTRUCT(tuple);
	is = class->relowner == role && isTempNamespace(class->relnamespace) &&
		strncmp(NameStr(class->relname), "plan_", strlen("plan_")) == 0;
	ReleaseSysCache(tuple);
	return is;
}

/*
 * Lends the right to the run's tables, of the role *lender, to a statement that
 * names them, and to nothing that it calls.  Before it is rewritten: what a view
 * or a rule brings into it may name the same tables, for the caller's rights if
 * the view is one with security_invoker, and goes by those of the owner.
 */
static bool
lend_tables(Node *node, void *lender)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		ListCell   *cell;

		foreach(cell, query->rtable)
		{
			RangeTblEntry *relation = lfirst(cell);

			if (relation->rtekind == RTE_RELATION && is_table_of_run(relation->relid, *(Oid *) lender))
				compat_check_as(query, relation, *(Oid *) lender);
		}
		return query_tree_walker(query, lend_tables, lender, 0);
	}
	return expression_tree_walker(node, lend_tables, lender);
}

/*
 * The statement, analyzed: each name, operator and cast of its text is resolved
 * in pg_catalog alone or stands there with its schema.  As the current user, but
 * for what lend_tables lends it of the role lender.
 */
static Query *
analyze_statement(const char *statement, ParamListInfo params, Oid lender)
{
	List	   *parsed = pg_parse_query(statement);
	Oid		   *types = palloc(Max(params->numParams, 1) * sizeof(Oid));
	List	   *queries;

	for (int i = 0; i < params->numParams; i++)
		types[i] = params->params[i].ptype;
	if (list_length(parsed) == 1)
	{
		Query	   *analyzed = parse_analyze_fixedparams(linitial_node(RawStmt, parsed), statement, types,
														 params->numParams, NULL);

		(void) lend_tables((Node *) analyzed, &lender);
		queries = pg_rewrite_query(analyzed);
		if (list_length(queries) == 1)
		{
			Query	   *query = linitial_node(Query, queries);

			/* EXPLAIN takes locks; what ends a transaction or talks to the client would do so here. */
			if (query->commandType == CMD_UTILITY && !IsA(query->utilityStmt, ExplainStmt))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("the statement neither reads nor writes rows"),
						 errhint("Use SELECT, INSERT, UPDATE, DELETE or EXPLAIN.")));
			return query;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a rule rewrites the statement"),
			 errdetail("A rule of the relation may turn one statement into several, or into none."),
			 errhint("Ask the DBA to replace the rule with a trigger; for a view, with INSTEAD OF triggers.")));
	return NULL;				/* not reached */
}

/* Runs an analyzed statement, and returns how many rows it processed. */
static int64
execute_query(Query *query, const char *statement, ParamListInfo params, DestReceiver *dest)
{
	PlannedStmt *plan;
	QueryDesc  *execution;
	int64		rows;

	/* Citus reads the first parameter even of an empty list. */
	if (params->numParams == 0)
		params = NULL;
	plan = linitial_node(PlannedStmt, pg_plan_queries(list_make1(query), statement, 0, params));
	if (query->commandType == CMD_UTILITY)
	{
		ProcessUtility(plan, statement, false, PROCESS_UTILITY_QUERY, params, NULL, dest, NULL);
		return 0;
	}
	execution = CreateQueryDesc(plan, statement, GetActiveSnapshot(), InvalidSnapshot, dest, params, NULL, 0);
	ExecutorStart(execution, 0);
	compat_executor_run(execution);
	ExecutorFinish(execution);
	rows = (int64) execution->estate->es_processed;
	ExecutorEnd(execution);
	FreeQueryDesc(execution);
	return rows;
}

/* The arguments as parameters of a statement, each a text; palloc'd. */
static ParamListInfo
text_parameters(ArrayType *arguments)
{
	Datum	   *values = NULL;
	bool	   *nulls = NULL;
	int			count = 0;
	ParamListInfo params;

	if (arguments != NULL)
		deconstruct_array(arguments, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	params = makeParamList(count);
	for (int i = 0; i < count; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = nulls[i];
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = TEXTOID;
	}
	return params;
}

/* What a statement of the deployment may have swallowed, a cancel, is raised once it has ended. */
static void
raise_if_stopped(void)
{
	if (as_owner_stop)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to user request")));
}

/*
 * Runs the statement as the relation's owner, arguments as text, and returns
 * the number of rows that it processed; rows of a query go to dest, where given.
 *
 * What the statement itself names is resolved in pg_catalog alone, by the text
 * of the statement; what it calls of the deployment (triggers, defaults, views)
 * finds the search_path of its owner.  It runs inside a security-restricted
 * operation: it can neither change the role back nor leave a deferred trigger
 * behind (callers set constraints immediate first, and make temp tables).  A
 * policy that would filter rows is an error.
 */
static int64
run_as_owner(Oid relation, const char *statement, ArrayType *arguments, DestReceiver *dest)
{
	Oid			owner;
	ParamListInfo params;
	Oid			saved_user;
	int			saved_context;
	int			guc_level;
	volatile bool has_begun = false;
	int64		rows;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;

	error_of_a_row = false;
	error_told[0] = '\0';
	error_row[0] = '\0';
	owner = people_owner(relation);
	context = AllocSetContextCreate(caller, "minga_roster statement", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	params = text_parameters(arguments);
	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(owner, saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	guc_level = NewGUCNestLevel();
	PG_TRY();
	{
		Query	   *query;

		session_pin();
		/* So that the context of its errors is that of what it calls. */
		error_context_stack = NULL;
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
		query = analyze_statement(statement, params, saved_user);
		session_give_back(owner);
		/* EXPLAIN, which takes locks, sees no value */
		has_begun = query->commandType != CMD_UTILITY;
		as_owner_runs = true;
		rows = execute_query(query, statement, params, dest ? dest : None_Receiver);
		as_owner_runs = false;
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
	PG_CATCH();
	{
		ErrorData  *edata;
		const char *row = GetConfigOption(ROW_SETTING, true, false);

		as_owner_runs = false;
		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		if (row != NULL)
			strlcpy(error_row, row, sizeof(error_row));
		AtEOXact_GUC(false, guc_level);
		SetUserIdAndSecContext(saved_user, saved_context);
		/* A cancel or shutdown is no fault of the relation, but a trigger may use its SQLSTATE. */
		if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION &&
			!error_may_quote_data(edata, true))
			PG_RE_THROW();
		FlushErrorState();
		raise_if_stopped();
		/* what writes and gives back rows begins with WITH or INSERT */
		rethrow(relation, dest != NULL && strncmp(statement, "WITH", 4) != 0 && strncmp(statement, "INSERT", 6) != 0,
				has_begun, edata);
	}
	PG_END_TRY();
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(saved_user, saved_context);
	raise_if_stopped();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);

	return rows;
}

static void
refuse_call(FunctionCallInfo fcinfo, int required)
{
	require_dba(fcinfo);
	for (int i = 0; i < required; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument %d of %s is NULL", i + 1, get_func_name(fcinfo->flinfo->fn_oid)),
					 errhint("Name the relation and the statement.")));
	}
}

/* as_owner(relation, statement, VARIADIC arguments): how many rows it processed. */
Datum
roster_as_owner(PG_FUNCTION_ARGS)
{
	refuse_call(fcinfo, 2);
	PG_RETURN_INT64(run_as_owner(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
								 PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2), NULL));
}

static void
receive_startup(DestReceiver *receiver, int operation, TupleDesc found)
{
	RowReceiver *rows = (RowReceiver *) receiver;
	TupleDesc	due = RelationGetDescr(rows->target);

	if (found->natts != due->natts)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the query has %d columns where the table has %d", found->natts, due->natts)));
	rows->uuid_column = -1;
	for (int i = 0; i < due->natts; i++)
	{
		Oid			type = TupleDescAttr(found, i)->atttypid;

		if (type == UUIDOID && TupleDescAttr(due, i)->atttypid == TEXTOID && rows->uuid_column < 0)
			rows->uuid_column = i;
		else if (type != TupleDescAttr(due, i)->atttypid)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column %d of the query is not of the type of column \"%s\"",
							i + 1, NameStr(TupleDescAttr(due, i)->attname))));
	}
	rows->values = palloc(sizeof(Datum) * due->natts);
	rows->uuid = palloc(VARHDRSZ + UUID_TEXT_LENGTH);
	rows->rows = temp_rows_begin(rows->target);
}

/* Makes a text of a UUID as its output function does, which takes several times as long. */
static void
uuid_to_text(const pg_uuid_t *uuid, text *result)
{
	static const char digits[] = "0123456789abcdef";
	char	   *at = VARDATA(result);

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[uuid->data[i] >> 4];
		*at++ = digits[uuid->data[i] & 0x0f];
	}
	SET_VARSIZE(result, VARHDRSZ + UUID_TEXT_LENGTH);
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *receiver)
{
	RowReceiver *rows = (RowReceiver *) receiver;
	int			uuid = rows->uuid_column;

	slot_getallattrs(slot);
	memcpy(rows->values, slot->tts_values, sizeof(Datum) * slot->tts_nvalid);
	if (uuid >= 0 && !slot->tts_isnull[uuid])
	{
		uuid_to_text(DatumGetUUIDP(slot->tts_values[uuid]), rows->uuid);
		rows->values[uuid] = PointerGetDatum(rows->uuid);
	}
	temp_rows_add(rows->rows, rows->values, slot->tts_isnull);
	return true;
}

static void
receive_shutdown(DestReceiver *receiver)
{
	temp_rows_end(((RowReceiver *) receiver)->rows);
}

static void
receive_destroy(DestReceiver *receiver)
{
}

/*
 * read_as_owner(relation, query, target, VARIADIC arguments): the rows of the
 * query, which runs as the relation's owner, go into target, a temp table with
 * its columns, where one UUID may be a text.  The owner needs no right on that.
 */
Datum
roster_read_as_owner(PG_FUNCTION_ARGS)
{
	RowReceiver *rows = palloc0(sizeof(RowReceiver));
	int64		count;

	refuse_call(fcinfo, 3);
	rows->receiver.receiveSlot = receive_row;
	rows->receiver.rStartup = receive_startup;
	rows->receiver.rShutdown = receive_shutdown;
	rows->receiver.rDestroy = receive_destroy;
	rows->receiver.mydest = DestTuplestore;
	rows->target = try_table_open(PG_GETARG_OID(2), RowExclusiveLock);
	if (rows->target == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table with OID %u does not exist", PG_GETARG_OID(2)),
				 errhint("Name a temporary table of this session.")));
	if (rows->target->rd_rel->relkind != RELKIND_RELATION || !rows->target->rd_islocaltemp ||
		rows->target->rd_rel->relam != HEAP_TABLE_AM_OID ||
		RelationGetIndexList(rows->target) != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a temporary table", RelationGetRelationName(rows->target)),
				 errhint("People are copied into nothing that others could read.")));
	count = run_as_owner(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
						 PG_ARGISNULL(3) ? NULL : PG_GETARG_ARRAYTYPE_P(3), &rows->receiver);
	table_close(rows->target, NoLock);
	PG_RETURN_INT64(count);
}

/*
 * owner_error(): whether one row may have caused the error that the last statement ran into, what may be told of
 * it, and which row was written last; NULL where that is no number.
 */
Datum
roster_owner_error(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	Datum		values[3] = {0};
	bool		nulls[3] = {false, false, true};
	char	   *end;
	long		row = strtol(error_row, &end, 10);

	refuse_call(fcinfo, 0);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("function returning record called in context that cannot accept type record")));
	values[0] = BoolGetDatum(error_of_a_row);
	values[1] = CStringGetTextDatum(error_told);
	nulls[1] = error_told[0] == '\0';
	if (row > 0 && row <= PG_INT32_MAX && *end == '\0')
	{
		values[2] = Int32GetDatum((int32) row);
		nulls[2] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}
