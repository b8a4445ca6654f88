/*
 * row.c
 *	  One row of a page: which fields are known, and where their values go.
 *
 * Fields that are not stored, "password" among them, are not known here.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/text.h"
#include "oneroster/object_row.h"
#include "oneroster/row.h"
#include "oneroster/row_date.h"
#include "oneroster/row_paths.h"
#include "oneroster/row_roles.h"
#include "oneroster/row_values.h"

/* The list of ids of the current field; NULL where it is none. */
static RowList *
field_list(RowMaker *maker)
{
	switch (maker->field)
	{
		case FIELD_ORGS:
		case FIELD_ORG_IDS:
			return &maker->row.orgs;
		case FIELD_AGENTS:
		case FIELD_AGENT_IDS:
			return &maker->row.agents;
	}
	return NULL;
}

/* An id of a list, or, where it is no reference's, several of them with commas between. */
static void
add_ids(RowMaker *maker, RowList *list, const char *value, int len)
{
	bool		several = (!maker->in_reference || maker->field == FIELD_ORG_IDS || maker->field == FIELD_AGENT_IDS);
	const char *end = value + len;

	for (;;)
	{
		const char *comma = several ? memchr(value, ',', end - value) : NULL;

		row_add_to_list(maker, list, row_text(maker, value, (comma == NULL ? end : comma) - value, true));
		if (comma == NULL)
			break;
		value = comma + 1;
	}
}

static int
user_field(const char *key, int len)
{
#define FIELD(name, field) \
	if (len == sizeof(name) - 1 && memcmp(key, name, sizeof(name) - 1) == 0) return field
	switch (len > 0 ? key[0] : '\0')
	{
		case 'a':
			FIELD("agents", FIELD_AGENTS);
			FIELD("agentSourcedIds", FIELD_AGENT_IDS);
			break;
		case 'd':
			FIELD("dateLastModified", ROW_DATE_LAST_MODIFIED);
			break;
		case 'e':
			FIELD("email", ROW_EMAIL);
			FIELD("enabledUser", FIELD_ENABLED);
			break;
		case 'f':
			FIELD("familyName", ROW_FAMILY_NAME);
			break;
		case 'g':
			FIELD("givenName", ROW_GIVEN_NAME);
			FIELD("grades", FIELD_GRADES);
			break;
		case 'i':
			FIELD("identifier", ROW_IDENTIFIER);
			break;
		case 'm':
			FIELD("middleName", ROW_MIDDLE_NAME);
			FIELD("metadata", FIELD_METADATA);
			break;
		case 'o':
			FIELD("orgs", FIELD_ORGS);
			FIELD("orgSourcedIds", FIELD_ORG_IDS);
			break;
		case 'p':
			FIELD("phone", ROW_PHONE);
			FIELD("preferredFirstName", ROW_PREFERRED_NAME);
			break;
		case 'r':
			FIELD("role", ROW_ROLE);
			FIELD("roles", FIELD_ROLES);
			break;
		case 's':
			FIELD("sourcedId", ROW_SOURCED_ID);
			FIELD("status", ROW_STATUS);
			FIELD("sms", ROW_SMS);
			break;
		case 'u':
			FIELD("username", ROW_USERNAME);
			break;
	}
	return FIELD_NONE;
}

static int
org_field(const char *key, int len)
{
	FIELD("sourcedId", ROW_SOURCED_ID);
	FIELD("status", ROW_STATUS);
	FIELD("identifier", ROW_IDENTIFIER);
	FIELD("name", ROW_NAME);
	FIELD("type", ROW_TYPE);
	FIELD("parent", FIELD_PARENT);
	FIELD("parentSourcedId", FIELD_PARENT);
	return FIELD_NONE;
#undef FIELD
}

/* enabledUser, in the spellings that are met; anything else spoils it. */
static void
set_enabled(RowMaker *maker, const char *value, int len, JsonTokenType type)
{
	bool		enabled;

	row_trim(&value, &len);
	if (type == JSON_TOKEN_NULL || len == 0)
		maker->row.enabled = true;
	else if (parse_bool_with_len(value, len, &enabled))
		maker->row.enabled = enabled;
	else
		row_spoil_field(maker);
}

/* A grade of the list, or a list of them in one string: the first one counts. */
static void
set_grade(RowMaker *maker, const char *value, int len)
{
	const char *comma = memchr(value, ',', len);

	if (maker->row.texts[ROW_GRADE] == NULL)
		maker->row.texts[ROW_GRADE] = row_text(maker, value, comma == NULL ? len : comma - value, false);
}

/* dateLastModified in the form in which dates sort as text; one that cannot be read is none. */
static void
set_date(RowMaker *maker, const char *value, int len)
{
	char		date[ROW_DATE_LEN + 1];

	row_trim(&value, &len);
	row_set_text(maker, &maker->row.texts[maker->field],
				 row_date_to_utc(value, len, date) ? row_text(maker, date, ROW_DATE_LEN, true) : NULL);
}

/*
 * Whether characters are taken out of the sourcedId, and a hash of what it is
 * with them: two ids that differ in these alone are not one (settle_stage).
 */
static void
note_sent_id(RowMaker *maker, const char *value, int len)
{
	char	   *cleaned;
	int			cleaned_len;

	row_trim(&value, &len);
	cleaned_len = len;
	cleaned = text_cleaned(value, &cleaned_len, true);
	maker->row.id_cleaned = (cleaned != NULL);
	if (cleaned == NULL)
		return;
	maker->row.id_sent = (int64) hash_bytes_extended((const unsigned char *) value, len, 0);
	pfree(cleaned);
}

/* A scalar as the value of the current field, or as an element of its list. */
void
row_set_field(RowMaker *maker, const char *value, int len, JsonTokenType type)
{
	RowList    *list = field_list(maker);

	if (type == JSON_TOKEN_NUMBER)
		len = row_whole_number_len(value, len);
	if (maker->field >= FIELD_OBJECT)
	{
		object_set_field(maker, value, len, type);
		return;
	}
	if (maker->field == FIELD_METADATA)
		return;
	if (maker->field == FIELD_ENABLED)
		set_enabled(maker, value, len, type);
	else if (type == JSON_TOKEN_NULL)
	{
		if (maker->field < ROW_TEXTS)
			row_set_text(maker, &maker->row.texts[maker->field], NULL);
	}
	else if (type != JSON_TOKEN_STRING && (type != JSON_TOKEN_NUMBER || maker->field == ROW_EMAIL))
		row_spoil_field(maker);
	else if (maker->field == FIELD_GRADES)
		set_grade(maker, value, len);
	else if (list != NULL)
		add_ids(maker, list, value, len);
	else if (maker->field >= FIELD_ROLES)
		row_set_role_field(maker, value, len);
	else if (maker->field == ROW_DATE_LAST_MODIFIED)
		set_date(maker, value, len);
	else if (maker->field == FIELD_PARENT)
		row_set_text(maker, &maker->row.texts[ROW_PARENT_ID], row_text(maker, value, len, true));
	else
	{
		if (maker->field == ROW_SOURCED_ID)
			note_sent_id(maker, value, len);
		row_set_text(maker, &maker->row.texts[maker->field],
					 row_text(maker, value, len, maker->field == ROW_SOURCED_ID));
		if (maker->field == ROW_STATUS || maker->field == ROW_ROLE)
			row_lower_case(maker->row.texts[maker->field]);
		if (maker->field == ROW_STATUS && maker->kind > PAGE_ORGS)
			object_end_status(maker);
	}
}

void
row_begin_reference(RowMaker *maker)
{
	maker->agents_before = maker->row.agents.count;
}

/*
 * An agent without an id is someone all the same: the empty id, which no one
 * has, keeps the user from passing for one who has no agents.
 */
void
row_end_reference(RowMaker *maker)
{
	RowList    *agents = &maker->row.agents;

	if (field_list(maker) == agents && agents->count == maker->agents_before)
		row_add_to_list(maker, agents, row_empty_text(maker));
}

/* A row without a value yet; the one before is gone. */
void
row_begin(RowMaker *maker)
{
	MemoryContextReset(maker->values);
	maker->arena_used = 0;
	maker->roles = NULL;
	maker->roles_count = maker->roles_size = 0;
	memset(&maker->row, 0, maker->kind <= PAGE_ORGS ? offsetof(PageRow, values) : sizeof(PageRow));
	maker->row.enabled = true;
	maker->field = FIELD_NONE;
	if (maker->npaths > 0)
		memset(maker->path_values, 0, sizeof(maker->path_values));
}

/* The values that follow are those of this key. */
void
row_begin_field(RowMaker *maker, const char *key, int len)
{
	if (maker->kind > PAGE_ORGS)
	{
		object_begin_field(maker, key, len);
		return;
	}
	maker->field = maker->kind == PAGE_USERS ? user_field(key, len) : org_field(key, len);
	if (maker->field != FIELD_NONE && (maker->unwanted & ROW_FIELD_BIT(maker->field)) != 0)
		maker->field = FIELD_NONE;
}

/* Whether the current field may be an array. */
bool
row_field_is_list(RowMaker *maker)
{
	if (maker->field >= FIELD_OBJECT)
		return true;
	return field_list(maker) != NULL || maker->field == FIELD_GRADES || maker->field == FIELD_ROLES;
}

/* Whether the current field, or an element of its list or roles, may be an object with a sourcedId. */
bool
row_field_is_reference(RowMaker *maker, bool in_list)
{
	if (maker->field >= FIELD_OBJECT)
		return object_field_is_reference(maker);
	return field_list(maker) != NULL || (!in_list && (maker->field == FIELD_PARENT || maker->field == FIELD_ROLE_ORG));
}

/*
 * The row is whole.  mended: bad characters were mended somewhere in it.  An id
 * with U+FFFD in it is not the one it was, so it is none: the person it named must
 * not pass for absent.
 */
void
row_end(RowMaker *maker, bool mended)
{
	PageRow    *row = &maker->row;

	if (maker->kind == PAGE_USERS)
	{
		row_remove_repeats(&row->orgs);
		row_remove_repeats(&row->agents);
		row_choose_role(maker, mended);
		row_end_paths(maker);
	}
	else if (maker->kind > PAGE_ORGS)
		object_end_row(maker);
	if (mended)
	{
		row->damaged = true;
		if (row_has_replacement(row->texts[ROW_SOURCED_ID]))
			row->texts[ROW_SOURCED_ID] = NULL;
		row->role_unclear |= row_has_replacement(row->texts[ROW_ROLE]);
		for (int i = 0; i < row->orgs.count; i++)
			row->orgs_unclear |= row_has_replacement((text *) DatumGetPointer(row->orgs.ids[i]));
	}
	if (row->texts[ROW_PHONE] == NULL)
		row->texts[ROW_PHONE] = row->texts[ROW_SMS];
}
