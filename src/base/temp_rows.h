/*
 * temp_rows.h
 *	  Many rows into a temporary table.
 */
#ifndef MINGA_ROSTER_TEMP_ROWS_H
#define MINGA_ROSTER_TEMP_ROWS_H

#include "postgres.h"

#include "utils/relcache.h"

typedef struct TempRows TempRows;

extern TempRows *temp_rows_begin(Relation target);
extern void temp_rows_add(TempRows *rows, Datum *values, bool *nulls);
extern void temp_rows_end(TempRows *rows);

#endif							/* MINGA_ROSTER_TEMP_ROWS_H */
