/*
 * batch.c
 *	  Rows into a table without indexes, by table_multi_insert, a batch at a time.
 *
 * A batch is BATCH_ROWS rows or BATCH_BYTES, however many rows there are.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/batch.h"

#define BATCH_ROWS 200			/* so many stay in the processor's caches */
#define BATCH_BYTES (1024 * 1024)

struct RowBatch
{
	MemoryContext tuples;		/* of the rows that wait */
	MemoryContext table;		/* what lives from batch_begin to batch_end */
	Relation	target;
	TupleDesc	tupdesc;
	int			options;
	CommandId	command;
	BulkInsertState bulk;
	TupleTableSlot *slots[BATCH_ROWS];
	int			made;			/* slots */
	int			used;			/* slots */
	Size		bytes;			/* in them */
};

/* A batch, to be used for one table after the other; lives in the current memory context. */
RowBatch *
batch_make(void)
{
	RowBatch   *batch = palloc0(sizeof(RowBatch));

	batch->tuples = AllocSetContextCreate(CurrentMemoryContext, "minga_roster batch",
										  BATCH_BYTES / 8, ALLOCSET_DEFAULT_INITSIZE, ALLOCSET_DEFAULT_MAXSIZE);
	batch->table = AllocSetContextCreate(CurrentMemoryContext, "minga_roster batch of a table", ALLOCSET_DEFAULT_SIZES);
	return batch;
}

/* Forgets the rows of a table that was begun before, and begins with this one.  options: TABLE_INSERT_... */
void
batch_begin(RowBatch *batch, Relation target, int options)
{
	MemoryContext caller;

	MemoryContextReset(batch->tuples);
	MemoryContextReset(batch->table);
	caller = MemoryContextSwitchTo(batch->table);
	batch->target = target;
	batch->tupdesc = CreateTupleDescCopy(RelationGetDescr(target));
	batch->options = options;
	batch->command = GetCurrentCommandId(true);
	batch->bulk = GetBulkInsertState();
	batch->made = batch->used = 0;
	batch->bytes = 0;
	MemoryContextSwitchTo(caller);
}

/* Where the next row is to be made. */
MemoryContext
batch_context(RowBatch *batch)
{
	return batch->tuples;
}

/* Writes the rows that wait and forgets them. */
static void
flush(RowBatch *batch)
{
	MemoryContext caller = MemoryContextSwitchTo(batch->tuples);

	if (batch->used > 0)
		table_multi_insert(batch->target, batch->slots, batch->used, batch->command, batch->options, batch->bulk);
	for (int i = 0; i < batch->used; i++)
		ExecClearTuple(batch->slots[i]);
	batch->used = 0;
	batch->bytes = 0;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(batch->tuples);
}

/* Takes a row that was made in batch_context. */
void
batch_add(RowBatch *batch, HeapTuple tuple)
{
	MemoryContext caller = MemoryContextSwitchTo(batch->table);

	if (batch->used == batch->made)
		batch->slots[batch->made++] = MakeSingleTupleTableSlot(batch->tupdesc, &TTSOpsHeapTuple);
	/* the slot owns the tuple, so that inserting it makes no copy */
	ExecStoreHeapTuple(tuple, batch->slots[batch->used++], true);
	batch->bytes += tuple->t_len;
	MemoryContextSwitchTo(caller);
	if (batch->used == BATCH_ROWS || batch->bytes >= BATCH_BYTES)
		flush(batch);
}

/* Writes what is left; the table is the caller's to close. */
void
batch_end(RowBatch *batch)
{
	flush(batch);
	FreeBulkInsertState(batch->bulk);
	table_finish_bulk_insert(batch->target, batch->options);
	batch->target = NULL;
}

void
batch_free(RowBatch *batch)
{
	MemoryContextDelete(batch->tuples);
	MemoryContextDelete(batch->table);
	pfree(batch);
}
