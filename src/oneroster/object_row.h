/*
 * object_row.h
 *	  Rows of terms, courses, classes, enrollments and demographics.
 */
#ifndef MINGA_ROSTER_OBJECT_ROW_H
#define MINGA_ROSTER_OBJECT_ROW_H

#include "postgres.h"

#include "base/compat.h"
#include "oneroster/row_values.h"

/* What a field of an object is, and so which JSON its value may be. */
typedef enum ObjectForm
{
	OBJECT_TEXT,
	OBJECT_WORD,				/* of a vocabulary: in lower case */
	OBJECT_DATE,				/* a day */
	OBJECT_YEAR,				/* a school year: that in which it ends */
	OBJECT_FLAG,				/* true or false */
	OBJECT_TEXTS,				/* a list */
	OBJECT_GRADES,				/* the same, of names without commas */
	OBJECT_ID,					/* a reference */
	OBJECT_IDS					/* a list of them */
} ObjectForm;

/* A field, and the column of the stage that takes it. */
typedef struct ObjectField
{
	const char *name;			/* as OneRoster has it */
	int			name_len;
	const char *csv_name;		/* as its CSV files, and some servers, have it; or NULL */
	int			csv_name_len;	/* or -1 */
	const char *column;
	ObjectForm	form;
} ObjectField;

typedef struct ObjectKind
{
	const char *envelope;		/* the key of the rows */
	const char *stage;			/* the table that the partitions are of */
	const char *fields;			/* to ask for */
	const ObjectField *columns; /* behind those that all objects have */
	int			ncolumns;
	int			school;			/* the column that says whose the row is, or -1 */
} ObjectKind;

extern const ObjectKind *object_kind(PageKind kind);
extern PageKind kind_of_family(const char *family);
extern void object_end_status(RowMaker *maker);
extern void object_begin_field(RowMaker *maker, const char *key, int len);
extern bool object_field_is_reference(const RowMaker *maker);
extern void object_set_field(RowMaker *maker, const char *value, int len, JsonTokenType type);
extern void object_end_row(RowMaker *maker);

#endif							/* MINGA_ROSTER_OBJECT_ROW_H */
