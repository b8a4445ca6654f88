/*
 * row.c
 *	  Values of one row of a page, as the stage is to hold them: cleaned (text.c),
 *	  trimmed, in NFC, empty as absent, what cannot be read left out and, where it
 *	  says who somebody is, the row marked damaged.
 *
 * Fields that are not stored, "password" among them, are not known here.
 */
#include "postgres.h"

#include "common/unicode_norm.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "oneroster/row.h"
#include "base/text.h"

#define FIELD_MAX_BYTES 1024

static void
set_text(text **place, text *value)
{
	if (*place != NULL)
		pfree(*place);
	*place = value;
}

/* The current field as OneRoster calls it, static; NULL for one that cannot spoil a row. */
static const char *
field_name(const RowMaker *maker)
{
	switch (maker->field)
	{
		case ROW_SOURCED_ID:
			return "sourcedId";
		case ROW_STATUS:
			return "status";
		case ROW_IDENTIFIER:
			return "identifier";
		case ROW_ROLE:
			return "role";
		case ROW_GIVEN_NAME:
			return "givenName";
		case ROW_FAMILY_NAME:
			return "familyName";
		case FIELD_ENABLED:
			return "enabledUser";
		case FIELD_ORGS:
		case FIELD_ORG_IDS:
			return "orgs";
		case FIELD_ROLES:
		case FIELD_ROLE_NAME:
		case FIELD_ROLE_TYPE:
		case FIELD_ROLE_ORG:
		case FIELD_ROLE_END:
			return "roles";
	}
	return NULL;
}

static text *
empty_text(RowMaker *maker)
{
	text	   *empty = MemoryContextAlloc(maker->values, VARHDRSZ);

	SET_VARSIZE(empty, VARHDRSZ);
	return empty;
}

/*
 * Whether a person can do without the current field where it cannot be read: it
 * says neither who the row is nor what becomes of it, so it passes for absent.
 */
static bool
is_dispensable(const RowMaker *maker)
{
	switch (maker->field)
	{
		case ROW_MIDDLE_NAME:
		case ROW_PREFERRED_NAME:
		case ROW_USERNAME:
		case ROW_EMAIL:
		case ROW_PHONE:
		case ROW_SMS:
		case ROW_DATE_LAST_MODIFIED:
		case FIELD_GRADES:
			return maker->kind == PAGE_USERS;
	}
	return false;
}

/*
 * The current field cannot be used.  Where it matters the row is there, and
 * damaged.  Of agents that cannot be read the row has some all the same (see
 * row_end_reference).
 */
void
row_spoil_field(RowMaker *maker)
{
	RowList    *agents = &maker->row.agents;

	if (maker->field == FIELD_NONE || maker->field == FIELD_METADATA)
		return;
	if (is_dispensable(maker))
	{
		if (maker->field < ROW_TEXTS)
			set_text(&maker->row.texts[maker->field], NULL);
		return;
	}
	if (maker->field == FIELD_AGENTS || maker->field == FIELD_AGENT_IDS)
	{
		if (agents->count < LIST_MAX)
			row_add_to_list(maker, agents, empty_text(maker));
		return;
	}
	maker->row.damaged = true;
	if (maker->row.damaged_field == NULL)
		maker->row.damaged_field = field_name(maker);
	if (maker->field == ROW_ROLE || maker->field == FIELD_ROLES || maker->field == FIELD_ROLE_NAME)
		maker->row.role_unclear = true;
	if (maker->field == FIELD_ORGS || maker->field == FIELD_ORG_IDS || maker->field == FIELD_ROLES || maker->field == FIELD_ROLE_ORG)
		maker->row.orgs_unclear = true;
}

/* Without white space as people paste it at either end: ASCII's, and U+00A0. */
static void
trim(const char **value, int *len)
{
	const char *start = *value;
	const char *end = start + *len;

	for (;;)
	{
		if (start < end && (*start == ' ' || (*start >= '\t' && *start <= '\r')))
			start++;
		else if (end - start >= 2 && start[0] == '\xC2' && start[1] == '\xA0')
			start += 2;
		else
			break;
	}
	for (;;)
	{
		if (end > start && (end[-1] == ' ' || (end[-1] >= '\t' && end[-1] <= '\r')))
			end--;
		else if (end - start >= 2 && end[-2] == '\xC2' && end[-1] == '\xA0')
			end -= 2;
		else
			break;
	}
	*value = start;
	*len = end - start;
}

/* The value in NFC, palloc'd, or NULL where it is so already. */
static char *
normalize(const char *value, int len)
{
	pg_wchar   *characters;
	pg_wchar   *composed;
	char	   *result;
	char	   *end;
	bool		ascii = true;

	for (int i = 0; i < len && ascii; i++)
		ascii = ((unsigned char) value[i] < 0x80);
	if (ascii)
		return NULL;

	characters = palloc((len + 1) * sizeof(pg_wchar));
	pg_encoding_mb2wchar_with_len(PG_UTF8, value, characters, len);
	if (unicode_is_normalized_quickcheck(UNICODE_NFC, characters) == UNICODE_NORM_QC_YES)
	{
		pfree(characters);
		return NULL;
	}
	composed = unicode_normalize(UNICODE_NFC, characters);
	pfree(characters);

	len = 0;
	while (composed[len] != 0)
		len++;
	result = end = palloc(len * 4 + 1);
	for (int i = 0; i < len; i++)
	{
		unicode_to_utf8(composed[i], (unsigned char *) end);
		end += pg_utf_mblen((unsigned char *) end);
	}
	*end = '\0';
	pfree(composed);
	return result;
}

/*
 * The value as a text of the row, NULL where it is empty or too long, which
 * spoils the field.  That characters were taken out of it does not.  An id gets
 * no spaces and is not composed, so that it equals itself wherever it is named.
 */
text *
row_text(RowMaker *maker, const char *value, int len, bool is_id)
{
	char	   *cleaned = text_cleaned(value, &len, is_id);
	char	   *composed = NULL;
	text	   *result = NULL;

	if (cleaned != NULL)
		value = cleaned;
	trim(&value, &len);
	if (len > FIELD_MAX_BYTES)
		row_spoil_field(maker);
	else if (len > 0)
	{
		if (!is_id && (composed = normalize(value, len)) != NULL)
		{
			value = composed;
			len = strlen(composed);
		}
		result = MemoryContextAlloc(maker->values, VARHDRSZ + len);
		SET_VARSIZE(result, VARHDRSZ + len);
		memcpy(VARDATA(result), value, len);
	}
	if (composed != NULL)
		pfree(composed);
	if (cleaned != NULL)
		pfree(cleaned);
	return result;
}

static void
lower_case(text *value)
{
	if (value == NULL)
		return;
	for (char *c = VARDATA(value); c < VARDATA(value) + VARSIZE(value) - VARHDRSZ; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
}

/* NULL is not added; too many spoil the field. */
void
row_add_to_list(RowMaker *maker, RowList *list, text *value)
{
	if (value == NULL)
		return;
	if (list->count >= LIST_MAX)
	{
		row_spoil_field(maker);
		return;
	}
	if (list->count == list->size)
	{
		list->size = Max(4, list->size * 2);
		list->ids = list->ids == NULL
			? MemoryContextAlloc(maker->values, list->size * sizeof(Datum))
			: repalloc(list->ids, list->size * sizeof(Datum));
	}
	list->ids[list->count++] = PointerGetDatum(value);
}

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

/* An id of a list, or, of ids alone, several of them with commas between. */
static void
add_ids(RowMaker *maker, RowList *list, const char *value, int len)
{
	bool		several = (maker->field == FIELD_ORG_IDS || maker->field == FIELD_AGENT_IDS);
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

	trim(&value, &len);
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

	trim(&value, &len);
	set_text(&maker->row.texts[maker->field],
			 row_date_to_utc(value, len, date) ? row_text(maker, date, ROW_DATE_LEN, true) : NULL);
}

/* A scalar as the value of the current field, or as an element of its list. */
void
row_set_field(RowMaker *maker, const char *value, int len, JsonTokenType type)
{
	RowList    *list = field_list(maker);

	if (maker->field == FIELD_METADATA)
		return;
	if (maker->field == FIELD_ENABLED)
		set_enabled(maker, value, len, type);
	else if (type == JSON_TOKEN_NULL)
	{
		if (maker->field < ROW_TEXTS)
			set_text(&maker->row.texts[maker->field], NULL);
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
		set_text(&maker->row.texts[ROW_PARENT_ID], row_text(maker, value, len, true));
	else
	{
		set_text(&maker->row.texts[maker->field],
				 row_text(maker, value, len, maker->field == ROW_SOURCED_ID));
		if (maker->field == ROW_STATUS || maker->field == ROW_ROLE)
			lower_case(maker->row.texts[maker->field]);
	}
}

void
row_begin_reference(RowMaker *maker)
{
	maker->agents_before = maker->row.agents.count;
}

/*
 * An agent without an id is somebody all the same: the empty id, which nobody
 * has, keeps the user from passing for one who has no agents.
 */
void
row_end_reference(RowMaker *maker)
{
	RowList    *agents = &maker->row.agents;

	if (field_list(maker) == agents && agents->count == maker->agents_before)
		row_add_to_list(maker, agents, empty_text(maker));
}

bool
row_has_replacement(const text *value)
{
	const char *bytes = value == NULL ? "" : VARDATA(value);
	int			len = value == NULL ? 0 : VARSIZE(value) - VARHDRSZ;

	for (int i = 0; i + 2 < len; i++)
	{
		if (memcmp(bytes + i, "\xEF\xBF\xBD", 3) == 0)
			return true;
	}
	return false;
}

/* A row without a value yet; the one before is gone. */
void
row_begin(RowMaker *maker)
{
	MemoryContextReset(maker->values);
	maker->roles = NULL;
	maker->roles_count = maker->roles_size = 0;
	memset(&maker->row, 0, sizeof(PageRow));
	maker->row.enabled = true;
	maker->field = FIELD_NONE;
}

/* The values that follow are those of this key. */
void
row_begin_field(RowMaker *maker, const char *key, int len)
{
	maker->field = maker->kind == PAGE_USERS ? user_field(key, len) : org_field(key, len);
	if (maker->field == FIELD_METADATA && !maker->campus_metadata)
		maker->field = FIELD_NONE;
}

/* Whether the current field may be an array. */
bool
row_field_is_list(RowMaker *maker)
{
	return field_list(maker) != NULL || maker->field == FIELD_GRADES || maker->field == FIELD_ROLES;
}

/* Whether the current field, or an element of its list or roles, may be an object with a sourcedId. */
bool
row_field_is_reference(RowMaker *maker, bool in_list)
{
	return field_list(maker) != NULL || (!in_list && (maker->field == FIELD_PARENT || maker->field == FIELD_ROLE_ORG));
}

/*
 * The row is whole.  mended: bad characters were mended somewhere in it.  An id
 * with U+FFFD in it is not the one it was, so it is none: whoever it named must
 * not pass for absent.
 */
void
row_end(RowMaker *maker, bool mended)
{
	PageRow    *row = &maker->row;

	row_choose_role(maker, mended);
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
