/*
 * row.h
 *	  One row of a page in the making.
 */
#ifndef MINGA_ROSTER_ROW_H
#define MINGA_ROSTER_ROW_H

#include "postgres.h"

#include "base/compat.h"
#include "oneroster/row_values.h"

extern void row_begin(RowMaker *maker);
extern void row_begin_field(RowMaker *maker, const char *key, int len);
extern bool row_field_is_list(RowMaker *maker);
extern bool row_field_is_reference(RowMaker *maker, bool in_list);
extern void row_begin_reference(RowMaker *maker);
extern void row_end_reference(RowMaker *maker);
extern void row_set_field(RowMaker *maker, const char *value, int len, JsonTokenType type);
extern void row_end(RowMaker *maker, bool mended);

#endif							/* MINGA_ROSTER_ROW_H */
