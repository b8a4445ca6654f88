/*
 * row.h
 *	  What page.c asks of row.c.
 */
#ifndef MINGA_ROSTER_ROW_H
#define MINGA_ROSTER_ROW_H

#include "base/compat.h"
#include "oneroster/fetch.h"

#define FIELD_NONE (-1)			/* a field that is not stored */
#define LIST_MAX 1000			/* orgs, agents or roles of one user */

/* Fields of a row that are no plain text; beside them those of RowText. */
typedef enum RowField
{
	FIELD_ENABLED = ROW_TEXTS,
	FIELD_GRADES,
	FIELD_ORGS,
	FIELD_AGENTS,
	FIELD_ORG_IDS,				/* ids alone, as the CSV files of OneRoster have them */
	FIELD_AGENT_IDS,
	FIELD_PARENT,
	FIELD_ROLES,
	FIELD_METADATA,
	/* of an element of roles */
	FIELD_ROLE_NAME,
	FIELD_ROLE_TYPE,
	FIELD_ROLE_ORG,
	FIELD_ROLE_END
} RowField;

/* An element of roles. */
typedef struct RowRole
{
	text	   *name;			/* NULL: none that can be read */
	text	   *org;			/* NULL: that of the row */
	bool		primary;
	bool		over;
} RowRole;

typedef struct RowMaker
{
	PageKind	kind;
	const char *school_id;
	const char *ended_before;
	bool		campus_metadata;	/* rows have that of Infinite Campus */
	MemoryContext values;		/* what the row points to */
	int			field;			/* the one whose value is being read */
	int			agents_before;	/* how many there were at the begin of the reference */
	RowRole    *roles;
	int			roles_count;
	int			roles_size;
	PageRow		row;
} RowMaker;

extern void row_begin(RowMaker *maker);
extern void row_begin_field(RowMaker *maker, const char *key, int len);
extern bool row_field_is_list(RowMaker *maker);
extern bool row_field_is_reference(RowMaker *maker, bool in_list);
extern void row_begin_reference(RowMaker *maker);
extern void row_end_reference(RowMaker *maker);
extern void row_spoil_field(RowMaker *maker);
extern void row_set_field(RowMaker *maker, const char *value, int len, JsonTokenType type);
extern void row_end(RowMaker *maker, bool mended);
extern text *row_text(RowMaker *maker, const char *value, int len, bool is_id);
extern void row_add_to_list(RowMaker *maker, RowList *list, text *value);
extern bool row_has_replacement(const text *value);

/* in row_metadata.c */
extern void row_take_metadata(RowMaker *maker, const char *json, int len);

/* in row_roles.c */
extern void row_begin_role(RowMaker *maker);
extern void row_begin_role_field(RowMaker *maker, const char *key, int len);
extern void row_set_role_field(RowMaker *maker, const char *value, int len);
extern void row_end_role(RowMaker *maker);
extern void row_choose_role(RowMaker *maker, bool mended);

/* in row_date.c */
#define ROW_DATE_LEN 24			/* of 2026-01-31T23:59:59.999Z */
extern bool row_date_to_utc(const char *value, int len, char *result);

#endif							/* MINGA_ROSTER_ROW_H */
