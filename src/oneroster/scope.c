/*
 * scope.c
 *	  Whether a row of a list is the school's, and of a role that was asked for.
 */
#include "postgres.h"

#include "base/compat.h"
#include "oneroster/endpoint.h"
#include "oneroster/object_row.h"
#include "oneroster/row_values.h"
#include "oneroster/scope.h"

static bool
text_equals(const text *value, const char *string)
{
	Size		len = strlen(string);

	return VARSIZE(value) - VARHDRSZ == len && memcmp(VARDATA(value), string, len) == 0;
}

/* Whether a row of an endpoint that is not the school's own has none of the roles that are kept of it. */
static bool
is_of_other_role(const RowJudge *judge, const PageRow *row)
{
	const RosterCollection *collection = judge->collection;
	const text *role = row->texts[ROW_ROLE];

	if (judge->school_scoped || collection->nroles == 0 || role == NULL || row->role_unclear)
		return false;
	for (int i = 0; i < collection->nroles; i++)
	{
		if (text_equals(role, collection->roles[i]))
			return false;
		for (int held = 0; held < row->roles.count; held++)
		{
			if (text_equals((text *) DatumGetPointer(row->roles.ids[held]), collection->roles[i]))
				return false;
		}
	}
	return true;
}

/* Whether an object names another school than this one, or, in a list that is not the school's own, none. */
static bool
is_object_elsewhere(const RowJudge *judge, const PageRow *row)
{
	int			school = object_kind(judge->collection->kind)->school;

	if (school < 0)
		return false;
	if (row->values[school].text == NULL)
		return !judge->school_scoped;
	return !text_equals(row->values[school].text, judge->school_id);
}

/*
 * Whether the user is none of this school's, or of a role that was not asked
 * for: the filter of a request is checked again, since servers ignore them.
 * Contacts are told by the students who name them, not by their schools.  What
 * cannot be read is never elsewhere.  An object is its school's, where its kind
 * has one.
 */
bool
is_elsewhere(const RowJudge *judge, const PageRow *row)
{
	const RosterCollection *collection = judge->collection;

	if (collection->kind > PAGE_ORGS)
		return is_object_elsewhere(judge, row);
	if (strcmp(collection->family, "contact") != 0 && !row->orgs_unclear)
	{
		bool		listed = (row->orgs.count == 0 && judge->school_scoped && !row->roles_over);

		for (int i = 0; i < row->orgs.count && !listed; i++)
			listed = text_equals((text *) DatumGetPointer(row->orgs.ids[i]), judge->school_id);
		if (!listed || (row->roles_over && row->texts[ROW_ROLE] == NULL))
			return true;
	}
	return is_of_other_role(judge, row);
}

/*
 * Whether the row, elsewhere by is_elsewhere, names no school at all.  In the
 * list of a school, whose place another list takes, it would have been the
 * school's.
 */
bool
is_nowhere(const RowJudge *judge, const PageRow *row)
{
	if (judge->collection->kind > PAGE_ORGS)
		return !judge->school_scoped && object_kind(judge->collection->kind)->school >= 0 &&
			row->values[object_kind(judge->collection->kind)->school].text == NULL;
	return !judge->school_scoped && is_school_scoped(judge->collection->path) &&
		row->orgs.count == 0 && !row->orgs_unclear && !row->roles_over && !is_of_other_role(judge, row);
}
