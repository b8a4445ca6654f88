/*
 * as_owner.c
 *	  The one door to the people relation: runs a statement with the rights of
 *	  the relation's owner, so that a deployment's triggers and defaults never
 *	  get those of the worker.
 *
 * Must survive whatever such a trigger raises, and let no data of a person
 * out in an error: texts of data exceptions, constraint violations and RAISE
 * may quote a row.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "minga_roster.h"

#define BATCH_ROWS 1000

/* Takes the rows of a query into a temp table, a batch at a time. */
typedef struct RowReceiver
{
	DestReceiver receiver;
	Relation	target;
	BulkInsertState bulk;
	CommandId	command;
	MemoryContext batch;		/* tuples that wait */
	TupleTableSlot *slots[BATCH_ROWS];
	int			used;			/* slots */
} RowReceiver;

PG_FUNCTION_INFO_V1(roster_as_owner);
PG_FUNCTION_INFO_V1(roster_read_as_owner);

static Oid
owner_of(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("people relation with OID %u does not exist", relation),
				 errdetail("It was dropped after it had been attached."),
				 errhint("The DBA restores it, or attaches another one with roster_attach_people and roster_configure.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Did a function of the deployment run into it?  Such have lines of context above that of the statement itself. */
static bool
is_from_within(const char *statement, const ErrorData *edata)
{
	const char *place;

	if (edata->context == NULL)
		return false;
	place = strstr(edata->context, statement);
	return place == NULL || memchr(edata->context, '\n', place - edata->context) != NULL;
}

/* Whether the server words errors of this class with values; the others speak of objects and resources alone. */
bool
sqlstate_may_quote_data(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_FEATURE_NOT_SUPPORTED:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return false;
		default:
			return true;
	}
}

/*
 * Could the text of this error quote a person's data?  Only classes whose
 * texts speak of objects and resources are known not to, and they only where
 * the statement itself met them: what a function runs into may be worded with
 * values (RAISE under any SQLSTATE, EXECUTE).  From within one, only a right
 * or setting that the server refuses is told, by the name of the object.
 */
static bool
may_quote_data(const char *statement, const ErrorData *edata)
{
	if (is_from_within(statement, edata))
		return edata->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE || edata->filename == NULL ||
			(strcmp(edata->filename, "aclchk.c") != 0 && strcmp(edata->filename, "guc.c") != 0);
	return sqlstate_may_quote_data(edata->sqlerrcode);
}

/* Raises what the statement ran into as an error of ours; edata is palloc'd by the caller. */
static void
rethrow(Oid relation, const char *statement, bool reading, ErrorData *edata)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relation));
	char	   *name = quote_qualified_identifier(schema, get_rel_name(relation));
	StringInfoData found;

	initStringInfo(&found);
	if (!may_quote_data(statement, edata))
		appendStringInfo(&found, "The statement failed with: %s.", edata->message);
	else
		appendStringInfo(&found, "The statement failed with SQLSTATE %s; its text may hold data of people and is left out.",
						 unpack_sql_state(edata->sqlerrcode));
	if (edata->constraint_name)
		appendStringInfo(&found, " Constraint \"%s\".", edata->constraint_name);
	if (edata->table_name)
		appendStringInfo(&found, " Table \"%s\".", edata->table_name);
	if (edata->column_name)
		appendStringInfo(&found, " Column \"%s\".", edata->column_name);

	ereport(ERROR,
			(errcode(edata->sqlerrcode),
			 reading ? errmsg("could not read from the people relation \"%s\"", name)
			 : errmsg("could not write to the people relation \"%s\"", name),
			 errdetail_internal("%s", found.data),
			 errhint("Nobody was changed. The DBA looks at the relation, its triggers, constraints, policies and the rights of its owner."),
			 edata->schema_name ? err_generic_string(PG_DIAG_SCHEMA_NAME, edata->schema_name) : 0,
			 edata->table_name ? err_generic_string(PG_DIAG_TABLE_NAME, edata->table_name) : 0,
			 edata->column_name ? err_generic_string(PG_DIAG_COLUMN_NAME, edata->column_name) : 0,
			 edata->constraint_name ? err_generic_string(PG_DIAG_CONSTRAINT_NAME, edata->constraint_name) : 0));
}

/*
 * Runs the statement as the relation's owner, arguments as text, and returns
 * the number of rows that it processed; rows of a query go to dest, where given.
 *
 * The statement runs inside a security-restricted operation: it can neither
 * change the role back nor leave a deferred trigger behind (callers set
 * constraints immediate first, and make temp tables).  A policy that would
 * filter rows is an error.  search_path is what a new session of this role
 * would have, which triggers written without one rely on.
 */
static int64
run_as_owner(Oid relation, const char *statement, ArrayType *arguments, DestReceiver *dest)
{
	Oid			owner;
	const char *search_path;
	Datum	   *values = NULL;
	bool	   *nulls = NULL;
	int			count = 0;
	SPIExecuteOptions options = {0};
	Oid			saved_user;
	int			saved_context;
	int			guc_level;
	int			result;
	int64		rows;
	MemoryContext context = CurrentMemoryContext;

	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", dest ? "read_as_owner" : "as_owner"),
				 errdetail("It is called by runs, whose worker is a superuser."),
				 errhint("Use the functions whose names begin with \"roster_\".")));

	owner = owner_of(relation);
	if (arguments != NULL)
		deconstruct_array(arguments, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	options.params = makeParamList(count);
	for (int i = 0; i < count; i++)
	{
		options.params->params[i].value = values[i];
		options.params->params[i].isnull = nulls[i];
		options.params->params[i].pflags = PARAM_FLAG_CONST;
		options.params->params[i].ptype = TEXTOID;
	}
	options.dest = dest;

	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(owner, saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	guc_level = NewGUCNestLevel();
	PG_TRY();
	{
		search_path = GetConfigOptionResetString("search_path");
		(void) set_config_option("search_path", search_path ? search_path : "", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
		(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
		/* So that the context of its errors is that of the statement and what it calls. */
		error_context_stack = NULL;
		SPI_connect();
		result = SPI_execute_extended(statement, &options);
		if (result < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg_internal("SPI_execute_extended failed: %s", SPI_result_code_string(result))));
		rows = (int64) SPI_processed;
		SPI_finish();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		AtEOXact_GUC(false, guc_level);
		SetUserIdAndSecContext(saved_user, saved_context);
		/* A cancel or shutdown is no fault of the relation, but a trigger may use its SQLSTATE. */
		if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION && !may_quote_data(statement, edata))
			PG_RE_THROW();
		FlushErrorState();
		rethrow(relation, statement, dest != NULL, edata);
	}
	PG_END_TRY();
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(saved_user, saved_context);

	return rows;
}

/* as_owner(relation, statement, VARIADIC arguments): how many rows it processed. */
Datum
roster_as_owner(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(run_as_owner(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
								 PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2), NULL));
}

static void
flush(RowReceiver *rows)
{
	MemoryContext caller = MemoryContextSwitchTo(rows->batch);

	if (rows->used > 0)
		table_multi_insert(rows->target, rows->slots, rows->used, rows->command, 0, rows->bulk);
	for (int i = 0; i < rows->used; i++)
		ExecClearTuple(rows->slots[i]);
	rows->used = 0;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(rows->batch);
}

static void
receive_startup(DestReceiver *receiver, int operation, TupleDesc found)
{
	RowReceiver *rows = (RowReceiver *) receiver;
	TupleDesc	due = RelationGetDescr(rows->target);

	if (found->natts != due->natts)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg_internal("%d columns where %d are due", found->natts, due->natts)));
	for (int i = 0; i < due->natts; i++)
		if (TupleDescAttr(found, i)->atttypid != TupleDescAttr(due, i)->atttypid)
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg_internal("column %d is not of the type of column \"%s\"", i + 1, NameStr(TupleDescAttr(due, i)->attname))));
	rows->bulk = GetBulkInsertState();
	rows->command = GetCurrentCommandId(true);
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *receiver)
{
	RowReceiver *rows = (RowReceiver *) receiver;
	MemoryContext caller = MemoryContextSwitchTo(rows->batch);

	/* the slot owns the tuple, so that inserting it makes no copy */
	ExecStoreHeapTuple(ExecCopySlotHeapTuple(slot), rows->slots[rows->used++], true);
	MemoryContextSwitchTo(caller);
	if (rows->used == BATCH_ROWS)
		flush(rows);
	return true;
}

static void
receive_shutdown(DestReceiver *receiver)
{
	RowReceiver *rows = (RowReceiver *) receiver;

	flush(rows);
	FreeBulkInsertState(rows->bulk);
}

static void
receive_destroy(DestReceiver *receiver)
{
}

/*
 * read_as_owner(relation, query, target, VARIADIC arguments): the rows of the
 * query, which runs as the relation's owner, go into target, a temp table with
 * its columns.  The owner needs no right on that.
 */
Datum
roster_read_as_owner(PG_FUNCTION_ARGS)
{
	RowReceiver *rows = palloc0(sizeof(RowReceiver));
	int64		count;

	rows->receiver.receiveSlot = receive_row;
	rows->receiver.rStartup = receive_startup;
	rows->receiver.rShutdown = receive_shutdown;
	rows->receiver.rDestroy = receive_destroy;
	rows->receiver.mydest = DestTuplestore;
	rows->target = table_open(PG_GETARG_OID(2), RowExclusiveLock);
	if (rows->target->rd_rel->relpersistence != RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is no temporary table", RelationGetRelationName(rows->target)),
				 errhint("People are copied into nothing that others could read.")));
	rows->batch = AllocSetContextCreate(CurrentMemoryContext, "minga_roster people", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < BATCH_ROWS; i++)
		rows->slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rows->target), &TTSOpsHeapTuple);
	count = run_as_owner(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
						 PG_ARGISNULL(3) ? NULL : PG_GETARG_ARRAYTYPE_P(3), &rows->receiver);
	for (int i = 0; i < BATCH_ROWS; i++)
		ExecDropSingleTupleTableSlot(rows->slots[i]);
	MemoryContextDelete(rows->batch);
	table_close(rows->target, NoLock);
	PG_RETURN_INT64(count);
}
