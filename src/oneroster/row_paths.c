/*
 * row_paths.c
 *	  Values of a user that stand at a path within the row: those that a column of
 *	  people was mapped to, and the identifiers of userIds.
 *
 *	field					the value of the field, the first one of a list
 *	field.member			a value within the object
 *	list[key=value].member	a value within the objects of the list that have that key
 *
 * A path in which a value is mapped takes the place of the field that OneRoster
 * has for it, also where the row has nothing there.  What must not happen is that
 * a row passes for another one: where a path leads to two values that differ, or
 * to something that is no text, the field it stands for counts as unreadable.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/json_scan.h"
#include "oneroster/row_paths.h"
#include "oneroster/row_values.h"

/* State of one path in one field.  Depth counts open objects and arrays. */
typedef struct PathScan
{
	RowMaker   *maker;
	const RowPath *path;
	PathValue  *value;
	int			depth;
	int			entry_depth;	/* inside an object that may have the value, else 0 */
	bool		in_list;
	bool		at_key;			/* at the value of the key that chooses the object */
	bool		at_member;
	bool		chosen;
	bool		spoiled;		/* the member is no text */
	JsonToken	found;			/* start is NULL: none */
} PathScan;

/* Columns that a path may be mapped to. */
static const struct
{
	const char *column;
	int			slot;
	uint64		fields;			/* of OneRoster, in whose place the path stands */
}			slots[] = {
	{"given_name", ROW_GIVEN_NAME, ROW_FIELD_BIT(ROW_GIVEN_NAME)},
	{"family_name", ROW_FAMILY_NAME, ROW_FIELD_BIT(ROW_FAMILY_NAME)},
	{"middle_name", ROW_MIDDLE_NAME, ROW_FIELD_BIT(ROW_MIDDLE_NAME)},
	{"preferred_name", ROW_PREFERRED_NAME, ROW_FIELD_BIT(ROW_PREFERRED_NAME)},
	{"email", ROW_EMAIL, ROW_FIELD_BIT(ROW_EMAIL)},
	{"username", ROW_USERNAME, ROW_FIELD_BIT(ROW_USERNAME)},
	{"identifier", ROW_IDENTIFIER, ROW_FIELD_BIT(ROW_IDENTIFIER)},
	{"grade", ROW_GRADE, ROW_FIELD_BIT(FIELD_GRADES)},
	{"phone", ROW_PHONE, ROW_FIELD_BIT(ROW_PHONE) | ROW_FIELD_BIT(ROW_SMS)},
};

/* Where the value of the column goes; PATH_OF_USER_IDS where it has no place of its own. */
int
row_path_slot(const char *column)
{
	for (int i = 0; i < lengthof(slots); i++)
	{
		if (strcmp(slots[i].column, column) == 0)
			return slots[i].slot;
	}
	return PATH_OF_USER_IDS;
}

/* The fields that are passed over, since the path says what they would. */
uint64
row_path_replaces(const RowPath *path)
{
	for (int i = 0; i < lengthof(slots); i++)
	{
		if (slots[i].slot == path->slot)
			return slots[i].fields;
	}
	return 0;
}

static bool
token_is(const JsonToken *token, const char *word)
{
	char	   *unescaped;
	bool		same;

	if (!token->escaped)
		return token->len == strlen(word) && memcmp(token->start, word, token->len) == 0;
	unescaped = compat_json_unescape(token->start - 1, token->len + 2);
	same = (strcmp(unescaped, word) == 0);
	pfree(unescaped);
	return same;
}

/* The token as a text of the row, cleaned as the values of other fields are. */
static text *
token_text(PathScan *scan)
{
	RowMaker   *maker = scan->maker;
	const char *value = scan->found.start;
	int			len = scan->found.len;
	char	   *unescaped = NULL;
	const char *comma;
	text	   *result;
	int			field = maker->field;

	if (scan->found.escaped)
	{
		unescaped = compat_json_unescape(value - 1, len + 2);
		value = unescaped;
		len = strlen(value);
	}
	/* Of several grades in one text the first one counts. */
	if (scan->path->slot == ROW_GRADE && (comma = memchr(value, ',', len)) != NULL)
		len = comma - value;
	maker->field = scan->path->slot == PATH_OF_USER_IDS ? FIELD_NONE : scan->path->slot;
	result = row_text(maker, value, len, scan->path->slot == PATH_OF_USER_IDS);
	maker->field = field;
	if (unescaped != NULL)
		pfree(unescaped);
	return result;
}

/* The value of one object, or of the field itself, is known. */
static void
deliver(PathScan *scan)
{
	PathValue  *value = scan->value;
	text	   *found;

	if (scan->spoiled)
		value->unclear = true;
	if (scan->found.start == NULL)
		return;
	found = token_text(scan);
	if (found == NULL)
		return;
	if (scan->path->slot == PATH_OF_USER_IDS)
	{
		int			field = scan->maker->field;

		scan->maker->field = FIELD_NONE;	/* too many spoil nothing */
		row_add_to_list(scan->maker, &scan->maker->row.user_ids, found);
		scan->maker->field = field;
	}
	else if (value->found == NULL)
		value->found = found;
	else if (VARSIZE(found) != VARSIZE(value->found) ||
			 memcmp(VARDATA(found), VARDATA(value->found), VARSIZE(found) - VARHDRSZ) != 0)
		value->unclear = true;
}

static void
object_start(void *state, const char *start)
{
	PathScan   *scan = state;

	if (scan->entry_depth > 0)
	{
		scan->spoiled |= (scan->depth == scan->entry_depth && scan->at_member);
		scan->chosen &= !(scan->depth == scan->entry_depth && scan->at_key);
	}
	else if (scan->depth == (scan->in_list ? 1 : 0) && scan->path->member[0] != '\0' &&
			 (!scan->in_list || scan->path->of_list))
	{
		scan->entry_depth = scan->depth + 1;
		scan->chosen = (scan->path->key[0] == '\0');
		scan->spoiled = false;
		scan->found.start = NULL;
	}
	else if (scan->depth == 0)
		scan->spoiled = true;	/* an object in the place of a text */
	scan->depth++;
}

static void
object_end(void *state, const char *end)
{
	PathScan   *scan = state;

	if (scan->depth == scan->entry_depth)
	{
		scan->entry_depth = 0;
		if (scan->chosen)
			deliver(scan);
		scan->spoiled = false;
		scan->found.start = NULL;
	}
	scan->depth--;
}

static void
array_start(void *state, const char *start)
{
	PathScan   *scan = state;

	if (scan->depth == 0)
	{
		scan->in_list = true;
		scan->spoiled |= (scan->path->member[0] != '\0' && !scan->path->of_list);
	}
	else if (scan->depth == scan->entry_depth)
		scan->spoiled |= scan->at_member;
	scan->depth++;
}

static void
array_end(void *state, const char *end)
{
	PathScan   *scan = state;

	scan->depth--;
}

static bool
field(void *state, const JsonToken *key)
{
	PathScan   *scan = state;

	if (scan->entry_depth == 0 || scan->depth != scan->entry_depth)
		return false;
	scan->at_member = token_is(key, scan->path->member);
	scan->at_key = scan->path->key[0] != '\0' && token_is(key, scan->path->key);
	return scan->at_member || scan->at_key;
}

static void
scalar(void *state, const JsonToken *token)
{
	PathScan   *scan = state;
	bool		in_entry = scan->entry_depth > 0 && scan->depth == scan->entry_depth;

	if (in_entry && scan->at_key)
		scan->chosen = token_is(token, scan->path->value);
	/* of a field that is a list, the first value that is not empty */
	if (!(in_entry ? scan->at_member : scan->depth <= 1 && scan->path->member[0] == '\0' && scan->found.len == 0))
		return;
	if (token->type == JSON_TOKEN_STRING || (token->type == JSON_TOKEN_NUMBER && scan->path->slot != ROW_EMAIL))
		scan->found = *token;
	else
		scan->spoiled |= (token->type != JSON_TOKEN_NULL);
}

/* Whether a path begins with the key whose value follows, a field of the row. */
bool
row_paths_begin_field(RowMaker *maker, const char *key, int len)
{
	maker->path_key = NULL;
	for (int i = 0; i < maker->npaths && maker->path_key == NULL; i++)
	{
		if (strlen(maker->paths[i].field) == len && memcmp(maker->paths[i].field, key, len) == 0)
			maker->path_key = maker->paths[i].field;
	}
	return maker->path_key != NULL;
}

/* Whether the value is an object or a list that holds nothing, as some servers write an absent value. */
static bool
is_empty(const char *json, int len)
{
	int			inside = 1;

	if (json[0] != '{' && json[0] != '[')
		return false;
	while (inside < len && strchr(" \t\r\n", json[inside]) != NULL)
		inside++;
	return inside == len - 1;
}

/* Takes what the paths lead to from the value of the field that row_paths_begin_field was given, valid JSON. */
void
row_take_paths(RowMaker *maker, const char *json, int len)
{
	static const JsonActions actions = {
		.object_start = object_start,
		.object_end = object_end,
		.array_start = array_start,
		.array_end = array_end,
		.field = field,
		.scalar = scalar,
	};
	size_t		place;

	for (int i = 0; i < maker->npaths; i++)
	{
		PathScan	scan = {.maker = maker,.path = &maker->paths[i],.value = &maker->path_values[i]};

		if (strcmp(maker->paths[i].field, maker->path_key) != 0 || is_empty(json, len))
			continue;
		/* of a field that comes twice the last one counts */
		memset(scan.value, 0, sizeof(PathValue));
		if (scan.path->slot == PATH_OF_USER_IDS)
			maker->row.user_ids.count = 0;
		(void) json_scan(json, len, &actions, &scan, &place);
		if (scan.path->member[0] == '\0' || scan.spoiled)
			deliver(&scan);
	}
}

/* The row is whole: what was found goes to its place, and nothing where there was nothing. */
void
row_end_paths(RowMaker *maker)
{
	for (int i = 0; i < maker->npaths; i++)
	{
		int			slot = maker->paths[i].slot;

		if (slot == PATH_OF_USER_IDS)
			continue;
		maker->field = slot;
		row_set_text(maker, &maker->row.texts[slot], maker->path_values[i].found);
		if (maker->path_values[i].unclear)
		{
			row_set_text(maker, &maker->row.texts[slot], NULL);
			row_spoil_field(maker);
		}
	}
}
