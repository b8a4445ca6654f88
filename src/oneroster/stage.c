/*
 * stage.c
 *	  Rows of a fetch into the connection's own partitions of staged_users,
 *	  staged_orgs and, of objects, of the table that object_row.c names.
 *
 * A page is one short transaction, opened and committed by the caller; a page
 * that fails takes its rows with it.  Rows go in a batch at a time, straight into
 * the partition (which has no index, and whose name is that of the connection's
 * number).
 *
 * A digest of what was staged, whatever the order of the rows, tells a merge that
 * all lists are as they were.
 *
 * What the fetch before left goes with the first page that is taken.  It is cut
 * off once that page has been read, since that is not undone where the page is
 * not taken; close_run sees to a stage that lost its rows all the same.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "nodes/makefuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/batch.h"
#include "base/connection.h"
#include "base/error.h"
#include "base/member.h"
#include "base/transaction.h"
#include "oneroster/object_row.h"
#include "oneroster/row_values.h"
#include "oneroster/stage.h"

/* After so many rows a page is taken for one that can be read; fewer than a batch. */
#define ROWS_OF_A_PAGE 100

/* Columns as sql/tables.sql has them. */
typedef enum UserColumn
{
	USER_CONNECTION,
	USER_SOURCED_ID,
	USER_COLLECTION,
	USER_STATUS,
	USER_ROLE,
	USER_ENABLED,
	USER_DAMAGED,
	USER_GIVEN_NAME,
	USER_FAMILY_NAME,
	USER_MIDDLE_NAME,
	USER_PREFERRED_NAME,
	USER_USERNAME,
	USER_IDENTIFIER,
	USER_EMAIL,
	USER_PHONE,
	USER_GRADE,
	USER_DATE_LAST_MODIFIED,
	USER_ORG_IDS,
	USER_AGENT_IDS,
	USER_OUTCOME,
	USER_ROLES,
	USER_DAMAGED_FIELD,
	USER_LEGACY_ID,
	USER_RELATIONSHIPS,
	USER_ID_SENT,
	USER_SMS,
	USER_USER_IDS,
	USER_BIRTH_DATE,			/* which comes with demographics, once all is staged */
	USER_COLUMNS
} UserColumn;

typedef enum OrgColumn
{
	ORG_CONNECTION,
	ORG_SOURCED_ID,
	ORG_NAME,
	ORG_TYPE,
	ORG_IDENTIFIER,
	ORG_PARENT_ID,
	ORG_STATUS,
	ORG_COLUMNS
} OrgColumn;

/* Those of each table of objects; behind them stand the columns of its kind. */
typedef enum ObjectColumn
{
	OBJECT_CONNECTION,
	OBJECT_SOURCED_ID,
	OBJECT_COLLECTION,
	OBJECT_STATUS,
	OBJECT_DATE_LAST_MODIFIED,
	OBJECT_ELSEWHERE,
	OBJECT_DAMAGED,
	OBJECT_DAMAGED_FIELD,
	OBJECT_COLUMNS
} ObjectColumn;

StaticAssertDecl((int) USER_CONNECTION == (int) ORG_CONNECTION && (int) ORG_COLUMNS <= (int) USER_COLUMNS &&
				 (int) USER_CONNECTION == (int) OBJECT_CONNECTION &&
				 (int) OBJECT_COLUMNS + OBJECT_COLUMNS_MAX <= (int) USER_COLUMNS,
				 "a row of any table is made in the same place");

struct Stage
{
	RosterConnection *connection;
	const char *outcome_text;	/* of a row to begin with, or NULL */
	bool		keeps_orgs;
	bool		keeps_digest;
	uint64		digest;			/* the sum of hashes of the rows of pages that were taken */
	bool		emptied;		/* of what the fetch before left, by a page that was taken */
	bool		to_be_cut;		/* in this transaction */
	RowBatch   *batch;
	MemoryContext page;			/* what lives as long as a page */
	Datum		connection_name;
	StageContent content;

	/* while a page is open */
	int			rows;
	uint64		page_digest;
	const ObjectKind *object;	/* what it is of, or NULL */
	Relation	relation;
	TupleDesc	tupdesc;
	Datum		collection;
	Datum		outcome;
	Datum		elsewhere;
	Datum		ended;
	Datum		values[USER_COLUMNS];	/* the row in the making */
	bool		nulls[USER_COLUMNS];
};

/*
 * The stage of a connection, in the current memory context.  outcome: what a
 * plan will make of most users, so that it rewrites few rows; NULL where there
 * will be no plan.  keeps_orgs: with the schools of each user, which only a
 * diagnosis looks at.
 */
Stage *
stage_open(RosterConnection *connection, const char *outcome, bool keeps_orgs)
{
	Stage	   *stage = palloc0(sizeof(Stage));

	stage->connection = connection;
	stage->outcome_text = outcome;
	stage->keeps_orgs = keeps_orgs;
	stage->batch = batch_make();
	stage->page = AllocSetContextCreate(CurrentMemoryContext, "minga_roster staged page", ALLOCSET_DEFAULT_SIZES);
	stage->connection_name = CStringGetTextDatum(connection->name);
	return stage;
}

static void
name_partition(const Stage *stage, PageKind kind, char *name)
{
	const ObjectKind *object = object_kind(kind);

	snprintf(name, NAMEDATALEN, "%s_%d", object != NULL ? object->stage : kind == PAGE_USERS ? "staged_users"
			 : "staged_orgs", stage->connection->number);
}

/* A partition of the stage, or InvalidOid. */
static Oid
find_partition(const Stage *stage, PageKind kind)
{
	char		name[NAMEDATALEN];

	name_partition(stage, kind, name);
	return get_relname_relid(name, get_namespace_oid("minga_roster_internal", false));
}

static void
call_for_connection(Stage *stage, const char *statement)
{
	Oid			types[] = {TEXTOID};

	execute_statement(statement, 1, types, &stage->connection_name, NULL);
}

/*
 * Makes the partitions where missing and empties them of what the fetch before left, unless that was done and
 * committed.  In the caller's transaction, which must have SPI and a snapshot.
 */
void
stage_prepare(Stage *stage)
{
	if (!stage->emptied)
		call_for_connection(stage, "SELECT minga_roster_internal.prepare_stage($1)");
}

/* Whether all of the stage can be cut off: what each school has is there, and no session reads it. */
static bool
can_be_cut(const Stage *stage)
{
	for (PageKind kind = PAGE_USERS; kind <= PAGE_DEMOGRAPHICS; kind++)
	{
		Oid			partition = find_partition(stage, kind);

		if (OidIsValid(partition) ? !member_can_be_emptied(partition) : kind <= PAGE_ORGS)
			return false;
	}
	return true;
}

/*
 * The same where a page of that kind is about to be read: what can be cut off is, once the page is known to be one.
 * Objects may be read that were not before.
 */
static void
prepare_for_page(Stage *stage, PageKind kind)
{
	stage->to_be_cut = false;
	if (stage->emptied)
	{
		if (!OidIsValid(find_partition(stage, kind)))
			call_for_connection(stage, "SELECT minga_roster_internal.make_partitions($1)");
		return;
	}
	stage->to_be_cut = can_be_cut(stage);
	if (!stage->to_be_cut)
		stage_prepare(stage);
}

static void
cut_off(Stage *stage)
{
	if (!stage->to_be_cut)
		return;
	stage->to_be_cut = false;
	call_for_connection(stage, "DELETE FROM minga_roster.stages WHERE connection = $1");
	for (PageKind kind = PAGE_USERS; kind <= PAGE_DEMOGRAPHICS; kind++)
	{
		Oid			partition = find_partition(stage, kind);

		if (OidIsValid(partition))
			member_empty(partition);
	}
}

/*
 * Makes ready for the rows of one page of a collection, in the caller's
 * transaction, which must have SPI and a snapshot.
 */
void
stage_begin_page(Stage *stage, PageKind kind, const char *collection)
{
	MemoryContext caller;
	char		name[NAMEDATALEN];
	int			columns = (kind == PAGE_USERS) ? USER_COLUMNS : ORG_COLUMNS;

	prepare_for_page(stage, kind);
	MemoryContextReset(stage->page);
	caller = MemoryContextSwitchTo(stage->page);
	stage->rows = 0;
	stage->page_digest = 0;
	stage->object = object_kind(kind);
	if (stage->object != NULL)
		columns = OBJECT_COLUMNS + stage->object->ncolumns;
	name_partition(stage, kind, name);
	stage->relation = table_openrv(makeRangeVar("minga_roster_internal", pstrdup(name), -1), RowExclusiveLock);
	stage->tupdesc = CreateTupleDescCopy(RelationGetDescr(stage->relation));
	if (stage->tupdesc->natts != columns)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("table \"minga_roster_internal.%s\" does not have the columns that the library writes", name),
				 errdetail("It has %d columns; %d are expected.", stage->tupdesc->natts, columns),
				 errhint("The library and the extension have different versions: ask the DBA to run ALTER EXTENSION "
						 "minga_roster UPDATE.")));
	batch_begin(stage->batch, stage->relation, TABLE_INSERT_SKIP_FSM);
	stage->collection = CStringGetTextDatum(collection);
	if (stage->outcome_text != NULL)
		stage->outcome = CStringGetTextDatum(stage->outcome_text);
	stage->elsewhere = CStringGetTextDatum("elsewhere");
	stage->ended = CStringGetTextDatum("ended");
	MemoryContextSwitchTo(caller);
}

static void
set_column(Stage *stage, int column, Datum value)
{
	stage->values[column] = value;
	stage->nulls[column] = false;
}

static void
set_text_column(Stage *stage, int column, const text *value)
{
	if (value != NULL)
		set_column(stage, column, PointerGetDatum(value));
}

static void
set_list_column(Stage *stage, int column, const RowList *list)
{
	if (list->count > 0)
		set_column(stage, column,
				   PointerGetDatum(construct_array(list->ids, list->count, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* A row with every column NULL but the connection; the context of its making is the batch's until end_row. */
static MemoryContext
begin_row(Stage *stage)
{
	memset(stage->nulls, true, sizeof(stage->nulls));
	set_column(stage, USER_CONNECTION, stage->connection_name);
	return MemoryContextSwitchTo(batch_context(stage->batch));
}

/* Adds a row to the digest of its page, without the columns that are left out, in their order. */
static void
digest_row(Stage *stage, HeapTuple tuple, const int *left_out, int count)
{
	const char *next = (char *) tuple->t_data->t_bits;
	const char *end = (char *) tuple->t_data + tuple->t_len;
	uint64		hash = 0;

	for (int i = 0; i < count; i++)
	{
		bool		isnull;
		const char *value = DatumGetPointer(heap_getattr(tuple, left_out[i] + 1, stage->tupdesc, &isnull));

		if (isnull)
			continue;
		hash = hash_bytes_extended((const unsigned char *) next, value - next, hash);
		next = value + VARSIZE_ANY(value);
	}
	stage->page_digest += hash_bytes_extended((const unsigned char *) next, end - next, hash);
}

/* elsewhere: the row goes when the end of its list has been judged. */
static void
end_row(Stage *stage, MemoryContext caller, bool elsewhere)
{
	/* When the SIS wrote a row, and what a plan is likely to make of it, is not what it says. */
	static const int of_users[] = {USER_DATE_LAST_MODIFIED, USER_OUTCOME};
	static const int of_objects[] = {OBJECT_DATE_LAST_MODIFIED};
	HeapTuple	tuple = heap_form_tuple(stage->tupdesc, stage->values, stage->nulls);

	if (stage->keeps_digest && !elsewhere)
	{
		if (stage->object != NULL)
			digest_row(stage, tuple, of_objects, lengthof(of_objects));
		else
			digest_row(stage, tuple, of_users, lengthof(of_users));
	}
	MemoryContextSwitchTo(caller);
	if (++stage->rows == ROWS_OF_A_PAGE)
		cut_off(stage);
	batch_add(stage->batch, tuple);
}

/*
 * Stages a user.  One who is elsewhere is staged by id alone, with the outcome
 * "elsewhere" or, where the roles have all ended, "ended", for the end of the
 * collection to be judged by; store_collection takes it out again.
 */
void
stage_user(Stage *stage, PageRow *row, bool elsewhere)
{
	static const struct
	{
		int			column;
		RowText text;
	}			texts[] = {
		{USER_STATUS, ROW_STATUS},
		{USER_ROLE, ROW_ROLE},
		{USER_GIVEN_NAME, ROW_GIVEN_NAME},
		{USER_FAMILY_NAME, ROW_FAMILY_NAME},
		{USER_MIDDLE_NAME, ROW_MIDDLE_NAME},
		{USER_PREFERRED_NAME, ROW_PREFERRED_NAME},
		{USER_USERNAME, ROW_USERNAME},
		{USER_IDENTIFIER, ROW_IDENTIFIER},
		{USER_EMAIL, ROW_EMAIL},
		{USER_PHONE, ROW_PHONE},
		{USER_GRADE, ROW_GRADE},
		{USER_SMS, ROW_SMS},
		{USER_DATE_LAST_MODIFIED, ROW_DATE_LAST_MODIFIED},
	};
	MemoryContext caller = begin_row(stage);

	set_text_column(stage, USER_SOURCED_ID, row->texts[ROW_SOURCED_ID]);
	set_column(stage, USER_COLLECTION, stage->collection);
	set_column(stage, USER_ENABLED, BoolGetDatum(row->enabled));
	set_column(stage, USER_DAMAGED, BoolGetDatum(row->damaged));
	if (elsewhere)
		set_column(stage, USER_OUTCOME, row->roles_over ? stage->ended : stage->elsewhere);
	else
	{
		stage->content.without_role |= (row->texts[ROW_ROLE] == NULL);
		stage->content.several_roles |= (row->roles.count > 1);
		for (int i = 0; i < lengthof(texts); i++)
			set_text_column(stage, texts[i].column, row->texts[texts[i].text]);
		if (stage->keeps_orgs)
			set_list_column(stage, USER_ORG_IDS, &row->orgs);
		if (row->id_cleaned)
			set_column(stage, USER_ID_SENT, Int64GetDatum(row->id_sent));
		set_list_column(stage, USER_AGENT_IDS, &row->agents);
		set_list_column(stage, USER_USER_IDS, &row->user_ids);
		if (row->damaged_field != NULL)
			set_column(stage, USER_DAMAGED_FIELD, CStringGetTextDatum(row->damaged_field));
		set_text_column(stage, USER_LEGACY_ID, row->legacy_id);
		if (row->relationships != NULL)
			set_column(stage, USER_RELATIONSHIPS, DirectFunctionCall1(jsonb_in, CStringGetDatum(row->relationships)));
		if (row->roles.count > 1)
			set_list_column(stage, USER_ROLES, &row->roles);
		if (stage->outcome_text != NULL)
			set_column(stage, USER_OUTCOME, stage->outcome);
	}
	end_row(stage, caller, elsewhere);
}

void
stage_org(Stage *stage, PageRow *row)
{
	MemoryContext caller = begin_row(stage);

	set_text_column(stage, ORG_SOURCED_ID, row->texts[ROW_SOURCED_ID]);
	set_text_column(stage, ORG_NAME, row->texts[ROW_NAME]);
	set_text_column(stage, ORG_TYPE, row->texts[ROW_TYPE]);
	set_text_column(stage, ORG_IDENTIFIER, row->texts[ROW_IDENTIFIER]);
	set_text_column(stage, ORG_PARENT_ID, row->texts[ROW_PARENT_ID]);
	set_text_column(stage, ORG_STATUS, row->texts[ROW_STATUS]);
	end_row(stage, caller, true);
}

/* Stages an object of the kind of the page; one of elsewhere by id alone, as a user is. */
void
stage_object(Stage *stage, PageRow *row, bool elsewhere)
{
	MemoryContext caller = begin_row(stage);

	set_text_column(stage, OBJECT_SOURCED_ID, row->texts[ROW_SOURCED_ID]);
	set_column(stage, OBJECT_COLLECTION, stage->collection);
	set_text_column(stage, OBJECT_STATUS, row->texts[ROW_STATUS]);
	set_text_column(stage, OBJECT_DATE_LAST_MODIFIED, row->texts[ROW_DATE_LAST_MODIFIED]);
	set_column(stage, OBJECT_ELSEWHERE, BoolGetDatum(elsewhere));
	set_column(stage, OBJECT_DAMAGED, BoolGetDatum(row->damaged));
	if (row->damaged_field != NULL)
		set_column(stage, OBJECT_DAMAGED_FIELD, CStringGetTextDatum(row->damaged_field));
	for (int i = 0; i < stage->object->ncolumns && !elsewhere; i++)
	{
		const ObjectValue *value = &row->values[i];
		int			column = OBJECT_COLUMNS + i;

		switch (stage->object->columns[i].form)
		{
			case OBJECT_TEXT:
			case OBJECT_WORD:
			case OBJECT_ID:
				set_text_column(stage, column, value->text);
				break;
			case OBJECT_TEXTS:
			case OBJECT_GRADES:
			case OBJECT_IDS:
				set_list_column(stage, column, &value->list);
				break;
			case OBJECT_DATE:
				if (value->has_number)
					set_column(stage, column, DateADTGetDatum(value->number));
				break;
			case OBJECT_YEAR:
				if (value->has_number)
					set_column(stage, column, Int32GetDatum(value->number));
				break;
			case OBJECT_FLAG:
				if (value->has_number)
					set_column(stage, column, BoolGetDatum(value->number != 0));
				break;
		}
	}
	end_row(stage, caller, elsewhere);
}

/* Notes whether an id of the collections that were read came twice. */
void
stage_note_repeats(Stage *stage, bool repeats)
{
	stage->content.repeats |= repeats;
}

/* What has been staged; rows of pages that were not taken count too. */
StageContent
stage_content(const Stage *stage)
{
	return stage->content;
}

/* From now on a digest is kept of what is staged. */
void
stage_begin_digest(Stage *stage)
{
	stage->keeps_digest = true;
	stage->digest = 0;
}

/* The digest as text, palloc'd; NULL if none is kept, or rows with one id differ in what it leaves out. */
char *
stage_digest(const Stage *stage)
{
	if (!stage->keeps_digest || stage->content.repeats)
		return NULL;
	return psprintf("%016llx", (unsigned long long) stage->digest);
}

/* Writes what is left of the page; the caller commits. */
void
stage_end_page(Stage *stage)
{
	stage->digest += stage->page_digest;
	cut_off(stage);
	batch_end(stage->batch);
	table_close(stage->relation, NoLock);
	stage->relation = NULL;
	/* Not before: a page that is not taken rolls back what it did, and that is among it. */
	stage->emptied = true;
}
