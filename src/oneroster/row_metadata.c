/*
 * row_metadata.c
 *	  What Infinite Campus says of a user beside OneRoster 1.2: the id that the
 *	  user had in 1.1, and how users are related.
 *
 * Only these two are looked for, and only for a preset whose SIS has them;
 * whatever else metadata holds is passed over and kept nowhere.  Nothing in it
 * can spoil a row: what is not as it should be counts as absent.
 *
 *	"metadata": {"ic.legacySourcedId": "1234",
 *				 "ic_relationships": [{"sourcedId": "g", "guardian": true, "relationshipType": "Mother"}]}
 *
 * Both are also found within an object "ic", and without regard to the case of
 * letters; the first has been seen spelled legacysourceId.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"

#include "base/compat.h"
#include "base/text.h"
#include "oneroster/row_metadata.h"
#include "oneroster/row_values.h"

#define RELATIONSHIP_TYPE_MAX 60	/* bytes; it is shown to people */

typedef enum MetadataKey
{
	KEY_OTHER,
	KEY_IC,
	KEY_LEGACY_ID,
	KEY_RELATIONSHIPS
} MetadataKey;

typedef enum EntryKey
{
	ENTRY_OTHER,
	ENTRY_ID,
	ENTRY_GUARDIAN,
	ENTRY_TYPE
} EntryKey;

/* State of one parse.  Depth counts open objects and arrays. */
typedef struct MetadataParse
{
	RowMaker   *maker;
	int			depth;
	int			ic_depth;		/* inside the object "ic", else 0 */
	int			list_depth;		/* inside the list of relationships, else 0 */
	int			entry_depth;	/* inside one of them, else 0 */
	MetadataKey key;			/* of the object that may hold both */
	EntryKey	entry_key;
	text	   *legacy_id;
	bool		legacy_unclear; /* two that differ */
	int			entries;
	StringInfoData relationships;	/* JSON, without its brackets */
	/* the relationship that is being read */
	text	   *id;
	const char *guardian;		/* JSON */
	char	   *type;
} MetadataParse;

static bool
is_named(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (pg_strcasecmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static MetadataKey
metadata_key(const char *name)
{
	static const char *const legacy_names[] = {
		"ic.legacySourcedId", "ic.legacySourceId", "ic_legacySourcedId", "ic_legacySourceId",
		"legacySourcedId", "legacySourceId"
	};
	static const char *const relationship_names[] = {"ic_relationships", "ic.relationships", "relationships"};

	if (pg_strcasecmp(name, "ic") == 0)
		return KEY_IC;
	if (is_named(name, legacy_names, lengthof(legacy_names)))
		return KEY_LEGACY_ID;
	if (is_named(name, relationship_names, lengthof(relationship_names)))
		return KEY_RELATIONSHIPS;
	return KEY_OTHER;
}

static EntryKey
entry_key(const char *name)
{
	if (pg_strcasecmp(name, "sourcedId") == 0)
		return ENTRY_ID;
	if (pg_strcasecmp(name, "guardian") == 0)
		return ENTRY_GUARDIAN;
	if (pg_strcasecmp(name, "relationshipType") == 0)
		return ENTRY_TYPE;
	return ENTRY_OTHER;
}

/* Whether the current value is one of the object that may hold both. */
static bool
at_key(const MetadataParse *parse)
{
	return parse->depth == 1 || (parse->ic_depth > 0 && parse->depth == parse->ic_depth);
}

static void
begin_entry(MetadataParse *parse)
{
	parse->entry_depth = parse->depth + 1;
	parse->entry_key = ENTRY_OTHER;
	parse->id = NULL;
	parse->guardian = "null";
	parse->type = NULL;
}

static void
end_entry(MetadataParse *parse)
{
	StringInfo	list = &parse->relationships;

	parse->entry_depth = 0;
	if (parse->id == NULL || parse->entries == LIST_MAX)
		return;
	appendStringInfoString(list, parse->entries++ > 0 ? ", {\"id\": " : "{\"id\": ");
	escape_json(list, text_to_cstring(parse->id));
	appendStringInfo(list, ", \"guardian\": %s, \"type\": ", parse->guardian);
	if (parse->type == NULL)
		appendStringInfoString(list, "null");
	else
		escape_json(list, parse->type);
	appendStringInfoChar(list, '}');
}

static JsonActionResult
object_start(void *state)
{
	MetadataParse *parse = state;

	if (parse->entry_depth == 0)
	{
		if (parse->list_depth > 0 ? parse->depth == parse->list_depth
			: at_key(parse) && parse->key == KEY_RELATIONSHIPS)
			begin_entry(parse);
		else if (parse->depth == 1 && parse->key == KEY_IC)
		{
			parse->ic_depth = 2;
			parse->key = KEY_OTHER;
		}
	}
	parse->depth++;
	JSON_ACTION_OK;
}

static JsonActionResult
object_end(void *state)
{
	MetadataParse *parse = state;

	if (parse->depth == parse->entry_depth)
		end_entry(parse);
	else if (parse->depth == parse->ic_depth)
		parse->ic_depth = 0;
	parse->depth--;
	JSON_ACTION_OK;
}

static JsonActionResult
array_start(void *state)
{
	MetadataParse *parse = state;

	if (parse->entry_depth == 0 && parse->list_depth == 0 && at_key(parse) && parse->key == KEY_RELATIONSHIPS)
		parse->list_depth = parse->depth + 1;
	parse->depth++;
	JSON_ACTION_OK;
}

static JsonActionResult
array_end(void *state)
{
	MetadataParse *parse = state;

	if (parse->depth == parse->list_depth)
		parse->list_depth = 0;
	parse->depth--;
	JSON_ACTION_OK;
}

static JsonActionResult
object_field_start(void *state, char *name, bool isnull)
{
	MetadataParse *parse = state;

	if (parse->entry_depth > 0)
	{
		if (parse->depth == parse->entry_depth)
			parse->entry_key = entry_key(name);
	}
	else if (at_key(parse))
		parse->key = metadata_key(name);
	JSON_ACTION_OK;
}

/* One id that is said in several spellings is one; two different ones are none. */
static void
take_legacy_id(MetadataParse *parse, const char *value)
{
	text	   *id = row_text(parse->maker, value, strlen(value), true);

	if (id == NULL)
		return;
	if (parse->legacy_id != NULL &&
		(VARSIZE(id) != VARSIZE(parse->legacy_id) ||
		 memcmp(VARDATA(id), VARDATA(parse->legacy_id), VARSIZE(id) - VARHDRSZ) != 0))
		parse->legacy_unclear = true;
	parse->legacy_id = id;
}

static void
take_entry_value(MetadataParse *parse, const char *value, JsonTokenType type)
{
	bool		guardian;
	int			start = strspn(value, " \t\r\n");
	int			len = strcspn(value + start, " \t\r\n");

	switch (parse->entry_key)
	{
		case ENTRY_ID:
			if (type == JSON_TOKEN_STRING || type == JSON_TOKEN_NUMBER)
				parse->id = row_text(parse->maker, value, strlen(value), true);
			break;
		case ENTRY_GUARDIAN:
			if (len > 0 && parse_bool_with_len(value + start, len, &guardian))
				parse->guardian = guardian ? "true" : "false";
			break;
		case ENTRY_TYPE:
			if (type == JSON_TOKEN_STRING && len > 0)
			{
				text	   *cleaned = row_text(parse->maker, value, strlen(value), false);

				if (cleaned != NULL)
					parse->type = printable(text_to_cstring(cleaned), RELATIONSHIP_TYPE_MAX);
			}
			break;
		case ENTRY_OTHER:
			break;
	}
}

static JsonActionResult
scalar(void *state, char *token, JsonTokenType type)
{
	MetadataParse *parse = state;

	if (type == JSON_TOKEN_NULL)
		JSON_ACTION_OK;
	if (parse->entry_depth > 0)
	{
		if (parse->depth == parse->entry_depth)
			take_entry_value(parse, token, type);
	}
	else if (at_key(parse) && parse->key == KEY_LEGACY_ID && (type == JSON_TOKEN_STRING || type == JSON_TOKEN_NUMBER))
		take_legacy_id(parse, token);
	JSON_ACTION_OK;
}

/*
 * Takes what there is of both from the value of metadata, valid JSON, into the
 * row.  A second metadata of the row takes the place of the first.
 */
void
row_take_metadata(RowMaker *maker, const char *json, int len)
{
	MemoryContext caller = MemoryContextSwitchTo(maker->values);
	MetadataParse parse = {.maker = maker};
	JsonSemAction actions = {
		.semstate = &parse,
		.object_start = object_start,
		.object_end = object_end,
		.array_start = array_start,
		.array_end = array_end,
		.object_field_start = object_field_start,
		.scalar = scalar,
	};

	initStringInfo(&parse.relationships);
	maker->row.legacy_id = NULL;
	maker->row.relationships = NULL;
	if (pg_parse_json(compat_json_lex_context(pnstrdup(json, len), len), &actions) == JSON_SUCCESS)
	{
		if (!parse.legacy_unclear)
			maker->row.legacy_id = parse.legacy_id;
		if (parse.entries > 0)
			maker->row.relationships = psprintf("[%s]", parse.relationships.data);
	}
	MemoryContextSwitchTo(caller);
}
