/*
 * row_roles.c
 *	  The roles of a user as OneRoster 1.2 has them: a list, each with its org,
 *	  its type and the days on which it begins and ends.
 *
 * One row of 1.2 may be a teacher at one school and a student's guardian at
 * another.  What counts is what is held at the connection's school: it makes
 * the row's role, and the row's orgs are those of all roles that have not
 * ended, beside those listed in "orgs" as 1.1 has them.  A day on which a role
 * begins is not looked at: a person who comes next week is not absent.
 */
#include "postgres.h"

#include "base/compat.h"
#include "oneroster/row_roles.h"
#include "oneroster/row_values.h"

/* The element of roles that is being read. */
static RowRole *
current_role(RowMaker *maker)
{
	return &maker->roles[maker->roles_count - 1];
}

/* The values that follow are those of a further role; one too many replaces the last and spoils the field. */
void
row_begin_role(RowMaker *maker)
{
	if (maker->roles_count == LIST_MAX)
	{
		row_spoil_field(maker);
		maker->roles_count--;
	}
	if (maker->roles_count == maker->roles_size)
	{
		maker->roles_size = Max(4, maker->roles_size * 2);
		maker->roles = row_enlarge(maker, maker->roles, maker->roles_count * sizeof(RowRole),
								   maker->roles_size * sizeof(RowRole));
	}
	memset(&maker->roles[maker->roles_count++], 0, sizeof(RowRole));
	maker->field = FIELD_NONE;
}

void
row_begin_role_field(RowMaker *maker, const char *key, int len)
{
	static const struct
	{
		const char *key;
		RowField	field;
	}			fields[] = {
		{"role", FIELD_ROLE_NAME},
		{"roleType", FIELD_ROLE_TYPE},
		{"org", FIELD_ROLE_ORG},
		{"orgSourcedId", FIELD_ROLE_ORG},
		{"endDate", FIELD_ROLE_END},
	};

	maker->field = FIELD_NONE;
	for (int i = 0; i < lengthof(fields); i++)
	{
		if (strlen(fields[i].key) == len && memcmp(fields[i].key, key, len) == 0)
			maker->field = fields[i].field;
	}
}

/* Whether a date, or the day of a time, is before the day from which roles count. */
static bool
is_over(const RowMaker *maker, const char *value, int len)
{
	static const char form[] = "dddd-dd-dd";

	if (len < sizeof(form) - 1)
		return false;
	for (int i = 0; i < sizeof(form) - 1; i++)
	{
		if (form[i] == 'd' ? value[i] < '0' || value[i] > '9' : value[i] != form[i])
			return false;
	}
	return memcmp(value, maker->ended_before, sizeof(form) - 1) < 0;
}

/* A string or number as the value of a role's field, or as a whole role: its name. */
void
row_set_role_field(RowMaker *maker, const char *value, int len)
{
	text	   *name;

	switch (maker->field)
	{
		case FIELD_ROLES:
			row_begin_role(maker);
			maker->field = FIELD_ROLE_NAME;
			row_set_role_field(maker, value, len);
			row_end_role(maker);
			break;
		case FIELD_ROLE_NAME:
			name = row_text(maker, value, len, false);
			if (name != NULL)
			{
				for (char *c = VARDATA(name); c < VARDATA(name) + VARSIZE(name) - VARHDRSZ; c++)
					*c = pg_ascii_tolower((unsigned char) *c);
			}
			current_role(maker)->name = name;
			break;
		case FIELD_ROLE_TYPE:
			current_role(maker)->primary = (len == 7 && pg_strncasecmp(value, "primary", 7) == 0);
			break;
		case FIELD_ROLE_ORG:
			current_role(maker)->org = row_text(maker, value, len, true);
			break;
		case FIELD_ROLE_END:
			current_role(maker)->over = is_over(maker, value, len);
			break;
	}
}

/* What follows belongs to the list of roles again. */
void
row_end_role(RowMaker *maker)
{
	maker->field = FIELD_ROLES;
}

static bool
is_listed(const RowList *list, const text *value)
{
	for (int i = 0; i < list->count; i++)
	{
		const text *listed = (text *) DatumGetPointer(list->ids[i]);

		if (VARSIZE(listed) == VARSIZE(value) && memcmp(listed, value, VARSIZE(value)) == 0)
			return true;
	}
	return false;
}

static bool
is_at_school(const RowMaker *maker, const RowRole *role)
{
	size_t		len = strlen(maker->school_id);

	return role->org == NULL ||
		(VARSIZE(role->org) - VARHDRSZ == len && memcmp(VARDATA(role->org), maker->school_id, len) == 0);
}

/*
 * The row's roles are all read: sets those held at the school, the orgs, and
 * the row's role.  Where none is held at the school the role is the one that
 * the row names beside the list, else the first of any.
 */
void
row_choose_role(RowMaker *maker, bool mended)
{
	PageRow    *row = &maker->row;
	const RowRole *elsewhere = NULL;
	int			over = 0;

	maker->field = FIELD_ROLES;
	for (int i = 0; i < maker->roles_count; i++)
	{
		const RowRole *role = &maker->roles[i];

		if (role->over)
		{
			over++;
			continue;
		}
		if (role->org != NULL && !is_listed(&row->orgs, role->org))
			row_add_to_list(maker, &row->orgs, role->org);
		if (mended)
			row->role_unclear |= row_has_replacement(role->name);
		if (role->name != NULL && (elsewhere == NULL || (role->primary && !elsewhere->primary)))
			elsewhere = role;
	}
	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < maker->roles_count; i++)
		{
			const RowRole *role = &maker->roles[i];

			if (role->name != NULL && !role->over && role->primary == (pass == 0) &&
				is_at_school(maker, role) && !is_listed(&row->roles, role->name))
				row_add_to_list(maker, &row->roles, role->name);
		}
	}
	row->roles_over = (over > 0 && over == maker->roles_count);
	if (row->roles.count > 0)
		row->texts[ROW_ROLE] = (text *) DatumGetPointer(row->roles.ids[0]);
	else if (row->texts[ROW_ROLE] == NULL && elsewhere != NULL)
		row->texts[ROW_ROLE] = elsewhere->name;
}
