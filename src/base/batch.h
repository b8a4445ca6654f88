/*
 * batch.h
 *	  Rows into a table, a batch at a time.
 */
#ifndef MINGA_ROSTER_BATCH_H
#define MINGA_ROSTER_BATCH_H

#include "postgres.h"

#include "access/htup.h"
#include "utils/relcache.h"

typedef struct RowBatch RowBatch;

extern RowBatch *batch_make(void);
extern void batch_begin(RowBatch *batch, Relation target, int options);
extern MemoryContext batch_context(RowBatch *batch);
extern void batch_add(RowBatch *batch, HeapTuple tuple);
extern void batch_end(RowBatch *batch);
extern void batch_free(RowBatch *batch);

#endif							/* MINGA_ROSTER_BATCH_H */
