/*
 * row_values.h
 *	  A row of a page, and tools for its values.
 */
#ifndef MINGA_ROSTER_ROW_VALUES_H
#define MINGA_ROSTER_ROW_VALUES_H

#include "postgres.h"

#define FIELD_NONE (-1)			/* a field that is not stored */
#define LIST_MAX 1000			/* orgs, agents or roles of one user, terms of one class */
#define OBJECT_COLUMNS_MAX 10
#define PATHS_MAX 10			/* columns that a path may be mapped to, and userIds */

/* Most rows fit in; more is allocated as such. */
#ifndef ROW_ARENA_BYTES
#define ROW_ARENA_BYTES 8192
#endif

/* Text fields of a row.  Users and orgs share the first three. */
typedef enum RowText
{
	ROW_SOURCED_ID,
	ROW_STATUS,
	ROW_IDENTIFIER,
	/* users */
	ROW_ROLE,
	ROW_GIVEN_NAME,
	ROW_FAMILY_NAME,
	ROW_MIDDLE_NAME,
	ROW_PREFERRED_NAME,
	ROW_USERNAME,
	ROW_EMAIL,
	ROW_PHONE,
	ROW_SMS,
	ROW_GRADE,
	ROW_DATE_LAST_MODIFIED,
	/* orgs */
	ROW_NAME,
	ROW_TYPE,
	ROW_PARENT_ID,
	ROW_TEXTS
} RowText;

typedef struct RowList
{
	Datum	   *ids;			/* text */
	int			count;
	int			size;
} RowList;

/* A value of a row that is neither a user nor an org (object_row.c): one of these. */
typedef struct ObjectValue
{
	text	   *text;
	RowList		list;
	int32		number;			/* a day, a year, or 0 or 1 */
	bool		has_number;
	bool		is_ambiguous;	/* values that differ came for it, so that it has none */
} ObjectValue;

/* One row of a page.  It lives until take_row returns. */
typedef struct PageRow
{
	text	   *texts[ROW_TEXTS];	/* NULL: absent, empty or unreadable */
	uint64		id_hash;		/* of the sourcedId */
	bool		id_cleaned;		/* characters were taken out of the sourcedId */
	int64		id_sent;		/* then a hash of what it was before */
	bool		enabled;
	bool		damaged;
	const char *damaged_field;	/* the first that cannot be read, static; NULL: characters */
	bool		role_unclear;	/* damaged in its role */
	bool		orgs_unclear;	/* damaged in its orgs */
	RowList		orgs;
	RowList		agents;
	RowList		roles;			/* of roles[], held at the school: the primary ones first */
	bool		roles_over;		/* roles[] holds none that has not ended */
	text	   *legacy_id;		/* of OneRoster 1.1, by Infinite Campus; or NULL */
	char	   *relationships;	/* by Infinite Campus, as JSON; or NULL */
	RowList		user_ids;		/* the identifiers of userIds, where a path asks for them */
	ObjectValue values[OBJECT_COLUMNS_MAX];	/* of an object, by column; of users and orgs they are not cleared */
} PageRow;

typedef enum PageKind
{
	PAGE_USERS,
	PAGE_ORGS,
	/* objects: what is neither */
	PAGE_SESSIONS,
	PAGE_COURSES,
	PAGE_CLASSES,
	PAGE_ENROLLMENTS,
	PAGE_DEMOGRAPHICS
} PageKind;

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
	FIELD_ROLE_END,
	/* of an object: its first column */
	FIELD_OBJECT
} RowField;

#define ROW_FIELD_BIT(field) (UINT64CONST(1) << (field))

/* An element of roles. */
typedef struct RowRole
{
	text	   *name;			/* NULL: none that can be read */
	text	   *org;			/* NULL: that of the row */
	bool		primary;
	bool		over;
} RowRole;

#define PATH_OF_USER_IDS (-1)

/* Where in a row a value stands (row_paths.c); "" for what the path does not have. */
typedef struct RowPath
{
	int			slot;			/* a RowText, or PATH_OF_USER_IDS */
	bool		of_list;
	char	   *field;
	char	   *key;
	char	   *value;
	char	   *member;
} RowPath;

typedef struct PathValue
{
	text	   *found;
	bool		unclear;		/* two that differ, or no text */
} PathValue;

typedef struct RowMaker
{
	PageKind	kind;
	const char *school_id;
	const char *ended_before;
	uint64		unwanted;		/* fields that are passed over: ROW_FIELD_BIT */
	const RowPath *paths;
	int			npaths;
	const char *path_key;		/* the current field, where a path begins with it; or NULL */
	PathValue	path_values[PATHS_MAX];
	MemoryContext values;		/* what the row points to, where the arena is full */
	int			field;			/* the one whose value is being read */
	bool		within_field;	/* its value is of a list or a reference, not alone */
	bool		in_reference;	/* its value is the sourcedId of a reference */
	const char *object_field;	/* its name, static, where it is an object's */
	bool		object_says_what;	/* and whether it says what the object is of, or when */
	int			agents_before;	/* how many there were at the begin of the reference */
	RowRole    *roles;
	int			roles_count;
	int			roles_size;
	PageRow		row;
	Size		arena_used;
	int64		arena[ROW_ARENA_BYTES / sizeof(int64)];
} RowMaker;

extern void *row_alloc(RowMaker *maker, Size size);
extern void *row_enlarge(RowMaker *maker, void *block, Size size, Size new_size);
extern void row_set_text(RowMaker *maker, text **place, text *value);
extern text *row_empty_text(RowMaker *maker);
extern void row_lower_case(text *value);
extern void row_trim(const char **value, int *len);
extern text *row_text(RowMaker *maker, const char *value, int len, bool is_id);
extern void row_add_to_list(RowMaker *maker, RowList *list, text *value);
extern void row_remove_repeats(RowList *list);
extern int	row_whole_number_len(const char *value, int len);
extern void row_spoil_field(RowMaker *maker);
extern bool row_has_replacement(const text *value);

#endif							/* MINGA_ROSTER_ROW_VALUES_H */
