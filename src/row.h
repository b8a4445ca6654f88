/*
 * row.h
 *	  What page.c asks of row.c.
 */
#ifndef MINGA_ROSTER_ROW_H
#define MINGA_ROSTER_ROW_H

#include "compat.h"
#include "fetch.h"

#define FIELD_NONE (-1)			/* a field that is not stored */

typedef struct RowMaker
{
	PageKind	kind;
	MemoryContext values;		/* what the row points to */
	int			field;			/* the one whose value is being read */
	PageRow		row;
} RowMaker;

extern void row_begin(RowMaker *maker);
extern void row_begin_field(RowMaker *maker, const char *key, int len);
extern bool row_field_is_list(RowMaker *maker);
extern bool row_field_is_reference(RowMaker *maker, bool in_list);
extern void row_spoil_field(RowMaker *maker);
extern void row_set_field(RowMaker *maker, const char *value, int len, JsonTokenType type);
extern void row_end(RowMaker *maker, bool mended);

#endif							/* MINGA_ROSTER_ROW_H */
