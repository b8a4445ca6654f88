/*
 * row_roles.h
 *	  The roles of a user as OneRoster 1.2 has them.
 */
#ifndef MINGA_ROSTER_ROW_ROLES_H
#define MINGA_ROSTER_ROW_ROLES_H

#include "postgres.h"

#include "oneroster/row_values.h"

extern void row_begin_role(RowMaker *maker);
extern void row_begin_role_field(RowMaker *maker, const char *key, int len);
extern void row_set_role_field(RowMaker *maker, const char *value, int len);
extern void row_end_role(RowMaker *maker);
extern void row_choose_role(RowMaker *maker, bool mended);

#endif							/* MINGA_ROSTER_ROW_ROLES_H */
