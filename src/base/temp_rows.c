/*
 * temp_rows.c
 *	  Many rows into a temporary table, without its local buffers.
 *
 * These are few: of a table with more pages each is written when the table is
 * extended, and again when its buffer is needed for another.  Here a page is filled
 * in memory and written once, as CLUSTER does it, by the same functions: with the
 * header of an old row, one that this command inserts.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/rewriteheap.h"
#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/temp_rows.h"

struct TempRows
{
	RewriteState pages;
	TupleDesc	descriptor;
	HeapTupleData inserted;
	MemoryContext row;
};

/*
 * Begins with a heap of this session without indexes, in the current memory
 * context.  No one else may write to it until temp_rows_end; rows that it has stay.
 */
TempRows *
temp_rows_begin(Relation target)
{
	TempRows   *rows = palloc0(sizeof(TempRows));
	HeapTupleHeader header = palloc0(SizeofHeapTupleHeader);

	HeapTupleHeaderSetXmin(header, GetCurrentTransactionId());
	HeapTupleHeaderSetCmin(header, GetCurrentCommandId(true));
	header->t_infomask |= HEAP_XMAX_INVALID;
	rows->inserted.t_data = header;
	rows->descriptor = RelationGetDescr(target);
	rows->row = AllocSetContextCreate(CurrentMemoryContext, "minga_roster temporary row", ALLOCSET_DEFAULT_SIZES);
	/* freezes nothing: no row is older than the table */
	rows->pages = begin_heap_rewrite(target, target, InvalidTransactionId, target->rd_rel->relfrozenxid,
									 target->rd_rel->relminmxid);
	return rows;
}

/* Adds a row of the table's columns. */
void
temp_rows_add(TempRows *rows, Datum *values, bool *nulls)
{
	MemoryContext caller = MemoryContextSwitchTo(rows->row);

	rewrite_heap_tuple(rows->pages, &rows->inserted, heap_form_tuple(rows->descriptor, values, nulls));
	MemoryContextSwitchTo(caller);
	MemoryContextReset(rows->row);
}

/* Writes the last page; the table is the caller's to close. */
void
temp_rows_end(TempRows *rows)
{
	end_heap_rewrite(rows->pages);
	MemoryContextDelete(rows->row);
}
