/*
 * template.c
 *	  fill_template(): SQL that is built of parts, from a template with named holes.
 *
 * A part is inserted once and not searched for holes, so it may hold any text.
 * Every hole needs a value and every value a hole: a part that was forgotten, or
 * misspelled, is an error and never a statement that means something else.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/error.h"

/* The values for the holes: names and values take turns. */
typedef struct Holes
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	bool	   *used;
} Holes;

ROSTER_FUNCTION(roster_fill_template);

/* The length of the hole at the beginning of the text, {name}, {name:I} or {name:L}; 0 if there is none. */
static int
hole_length(const char *place, int *name_length, char *kind)
{
	const char *end = place + 1;

	if (*place != '{')
		return 0;
	while ((*end >= 'a' && *end <= 'z') || *end == '_')
		end++;
	*name_length = end - place - 1;
	*kind = ' ';
	if (end[0] == ':' && (end[1] == 'I' || end[1] == 'L'))
	{
		*kind = end[1];
		end += 2;
	}
	return *name_length > 0 && *end == '}' ? end - place + 1 : 0;
}

/* Appends the value of a hole, quoted as its kind says. */
static void
append_part(StringInfo filled, Holes *holes, const char *name, char kind)
{
	for (int i = 0; i < holes->count; i += 2)
	{
		if (holes->nulls[i] || strcmp(TextDatumGetCString(holes->elements[i]), name) != 0)
			continue;
		holes->used[i] = true;
		if (holes->nulls[i + 1] && kind == 'L')
			appendStringInfoString(filled, "NULL");
		else if (holes->nulls[i + 1])
			break;
		else
		{
			char	   *value = TextDatumGetCString(holes->elements[i + 1]);

			appendStringInfoString(filled, kind == 'I' ? quote_identifier(value) :
								   kind == 'L' ? quote_literal_cstr(value) : value);
		}
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("hole \"%s\" of the template has no value", name)));
}

/* fill_template(template, VARIADIC holes): the template with each hole filled, without the white space around it. */
Datum
roster_fill_template(PG_FUNCTION_ARGS)
{
	char	   *template = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Holes		holes;
	StringInfoData filled;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &holes.elements, &holes.nulls,
					  &holes.count);
	if (holes.count % 2 != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("holes of a template are pairs of a name and a value")));
	holes.used = palloc0(sizeof(bool) * (holes.count + 1));
	initStringInfo(&filled);
	template += strspn(template, " \n");
	for (const char *rest = template; *rest != '\0';)
	{
		int			name_length;
		char		kind;
		int			length = hole_length(rest, &name_length, &kind);

		if (length == 0)
			appendStringInfoChar(&filled, *rest++);
		else
		{
			append_part(&filled, &holes, pnstrdup(rest + 1, name_length), kind);
			rest += length;
		}
	}
	for (int i = 0; i < holes.count; i += 2)
	{
		if (!holes.used[i])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the template has no hole \"%s\"",
							holes.nulls[i] ? "NULL" : TextDatumGetCString(holes.elements[i]))));
	}
	while (filled.len > 0 && strchr(" \n", filled.data[filled.len - 1]) != NULL)
		filled.data[--filled.len] = '\0';
	PG_RETURN_TEXT_P(cstring_to_text_with_len(filled.data, filled.len));
}
