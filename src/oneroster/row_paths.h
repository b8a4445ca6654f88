/*
 * row_paths.h
 *	  Values of a user that stand at a path within the row.
 */
#ifndef MINGA_ROSTER_ROW_PATHS_H
#define MINGA_ROSTER_ROW_PATHS_H

#include "postgres.h"

#include "oneroster/row_values.h"

extern int	row_path_slot(const char *column);
extern uint64 row_path_replaces(const RowPath *path);
extern bool row_paths_begin_field(RowMaker *maker, const char *key, int len);
extern void row_take_paths(RowMaker *maker, const char *json, int len);
extern void row_end_paths(RowMaker *maker);

#endif							/* MINGA_ROSTER_ROW_PATHS_H */
