/*
 * page.c
 *	  Fuzz target: a page of a collection, whatever its bytes are.  What is JSON, and
 *	  what stands in it, is what PostgreSQL's own parser says.
 *
 * The first byte of an input chooses users, orgs or a kind of objects, and whether
 * a page was read before under a key of its own.
 */
#include "backend.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"

#include "base/compat.h"
#include "base/json_scan.h"
#include "oneroster/object_row.h"
#include "oneroster/page.h"
#include "oneroster/row_date.h"
#include "oneroster/sanitize.h"

static int	taken;
static int	nameless;			/* agents without an id, of all rows */
static PageKind kind;

/* A text in UTF-8 without what acts on what people see: controls, line separators, controls of direction. */
static void
check_readable(const char *value, size_t len, const char *what)
{
	check_text(value, len, what);
	for (const char *c = value; c < value + len; c += pg_utf_mblen((const unsigned char *) c))
	{
		pg_wchar	character = utf8_to_unicode((const unsigned char *) c);

		check(character >= 0x20 && !(character >= 0x7F && character <= 0x9F), "no control character is left");
		check(character != 0x2028 && character != 0x2029, "no line separator is left");
		check(character != 0x61C && character != 0x200E && character != 0x200F, "no mark of direction is left");
		check(!(character >= 0x202A && character <= 0x202E) && !(character >= 0x2066 && character <= 0x2069),
			  "no control of direction is left");
	}
}

static void
check_value(const text *value, const char *what)
{
	check(VARSIZE(value) > VARHDRSZ, "an empty value is none");
	check_readable(VARDATA(value), VARSIZE(value) - VARHDRSZ, what);
}

/* nameless: counts elements that are empty, as an agent named without an id is; NULL where none may be. */
static void
check_list(const RowList *list, int *nameless)
{
	check(list->count >= 0 && list->count <= LIST_MAX, "lists are short");
	for (int i = 0; i < list->count; i++)
	{
		const text *value = (text *) DatumGetPointer(list->ids[i]);

		if (nameless != NULL && VARSIZE(value) == VARHDRSZ)
			(*nameless)++;
		else
			check_value(value, "the elements of a list are text");
	}
}

static void
take_row(void *taker, PageRow *row)
{
	const text *date = row->texts[ROW_DATE_LAST_MODIFIED];
	char		again[ROW_DATE_LEN + 1];

	check(taker == &taken, "the taker is handed on");
	taken++;
	check(row->texts[ROW_SOURCED_ID] != NULL, "a row that is taken has an id");
	for (int i = 0; i < ROW_TEXTS; i++)
	{
		if (row->texts[i] != NULL)
			check_value(row->texts[i], "the values of a row are text");
	}
	for (int i = 0; kind > PAGE_ORGS && i < object_kind(kind)->ncolumns; i++)
	{
		if (row->values[i].text != NULL)
			check_value(row->values[i].text, "the values of an object are text");
		check_list(&row->values[i].list, NULL);
	}
	check_list(&row->orgs, NULL);
	check_list(&row->agents, &nameless);
	check_list(&row->roles, NULL);
	check_list(&row->user_ids, NULL);
	if (date != NULL)
		check(VARSIZE(date) - VARHDRSZ == ROW_DATE_LEN && row_date_to_utc(VARDATA(date), ROW_DATE_LEN, again) &&
			  memcmp(again, VARDATA(date), ROW_DATE_LEN) == 0, "a date is of one form");
	if (row->legacy_id != NULL)
		check_value(row->legacy_id, "a legacy id is text");
	if (row->relationships != NULL)
		check_readable(row->relationships, strlen(row->relationships), "relationships are text");
	check(!(row->role_unclear || row->orgs_unclear) || row->damaged, "a row with something unclear is damaged");
}

static void
check_fault(const RosterFault *fault)
{
	check(fault->message != NULL && fault->detail != NULL && fault->hint != NULL,
		  "a fault says what, why and what to do");
	check_readable(fault->message, strlen(fault->message), "a message is text");
	check_readable(fault->detail, strlen(fault->detail), "a detail is text");
	if (fault->words != NULL)
		check_readable(fault->words, strlen(fault->words), "the SIS's words are text");
}

/* What a parser has said, as a hash of it. */
static void
note_event(uint64 *events, char what, const char *value, size_t len)
{
	*events = *events * 31 + what + hash_bytes_extended((const unsigned char *) value, len, 0);
}

static void
note_token(uint64 *events, char what, const JsonToken *token)
{
	char	   *unescaped;

	if (!token->escaped)
	{
		note_event(events, what, token->start, token->len);
		return;
	}
	unescaped = compat_json_unescape(token->start - 1, token->len + 2);
	note_event(events, what, unescaped, strlen(unescaped));
	pfree(unescaped);
}

static void
scanned_object_start(void *events, const char *start)
{
	check(*start == '{', "an object begins where it is said to");
	note_event(events, '{', "", 0);
}

static void
scanned_object_end(void *events, const char *end)
{
	check(end[-1] == '}', "an object ends where it is said to");
	note_event(events, '}', "", 0);
}

static void
scanned_array_start(void *events, const char *start)
{
	check(*start == '[', "an array begins where it is said to");
	note_event(events, '[', "", 0);
}

static void
scanned_array_end(void *events, const char *end)
{
	check(end[-1] == ']', "an array ends where it is said to");
	note_event(events, ']', "", 0);
}

static bool
scanned_field(void *events, const JsonToken *key)
{
	note_token(events, ':', key);
	return true;
}

static void
scanned_scalar(void *events, const JsonToken *value)
{
	note_token(events, '0' + value->type, value);
}

static JsonActionResult
parsed_object_start(void *events)
{
	note_event(events, '{', "", 0);
	JSON_ACTION_OK;
}

static JsonActionResult
parsed_object_end(void *events)
{
	note_event(events, '}', "", 0);
	JSON_ACTION_OK;
}

static JsonActionResult
parsed_array_start(void *events)
{
	note_event(events, '[', "", 0);
	JSON_ACTION_OK;
}

static JsonActionResult
parsed_array_end(void *events)
{
	note_event(events, ']', "", 0);
	JSON_ACTION_OK;
}

static JsonActionResult
parsed_field(void *events, char *name, bool isnull)
{
	note_event(events, ':', name, strlen(name));
	JSON_ACTION_OK;
}

static JsonActionResult
parsed_scalar(void *events, char *value, JsonTokenType type)
{
	note_event(events, '0' + type, value, strlen(value));
	JSON_ACTION_OK;
}

static bool
passed_field(void *events, const JsonToken *key)
{
	return false;
}

/* The scan of the JSON against PostgreSQL's parser. */
static void
compare_parsers(const uint8_t *data, size_t size)
{
	char	   *body = malloc(size);	/* its end is the end of what may be read */
	uint64		scanned = 0;
	uint64		parsed = 0;
	uint64		passed = 0;
	JsonActions actions = {scanned_object_start, scanned_object_end, scanned_array_start, scanned_array_end,
	scanned_field, scanned_scalar};
	JsonSemAction parser = {&parsed, parsed_object_start, parsed_object_end, parsed_array_start, parsed_array_end,
	parsed_field, NULL, NULL, NULL, parsed_scalar};
	MendedPage	page;
	JsonVerdict verdict;
	JsonVerdict verdict_passing;
	size_t		place;
	size_t		place_passing;
	bool		valid;

	memcpy(body, data, size);
	if (mend_page(body, size, &page))
	{
		verdict = json_scan(page.json, page.len, &actions, &scanned, &place);
		actions.field = passed_field;
		verdict_passing = json_scan(page.json, page.len, &actions, &passed, &place_passing);
		check(verdict == verdict_passing && (verdict == JSON_IS_WHOLE || place == place_passing),
			  "what is passed over is checked");
		check(verdict == JSON_IS_WHOLE || place <= page.len, "what is wrong is in the page");
		if (verdict != JSON_IS_TOO_DEEP)
		{
			valid = (pg_parse_json(compat_json_lex_context(page.json, page.len), &parser) == JSON_SUCCESS);
			check((verdict == JSON_IS_WHOLE) == valid, "JSON is what PostgreSQL's parser takes for it");
			check(!valid || scanned == parsed, "both parsers find the same in it");
		}
	}
	free(body);
}

/* How often a character comes. */
static int
occurrences(const uint8_t *data, size_t size, uint8_t character)
{
	int			count = 0;

	for (size_t i = 0; i < size; i++)
		count += (data[i] == character);
	return count;
}

static const RowPath paths[] = {
	{PATH_OF_USER_IDS, true, "userIds", "", "", "identifier"},
	{ROW_IDENTIFIER, true, "userIds", "type", "a", "identifier"},
	{ROW_MIDDLE_NAME, false, "metadata", "", "", "b"},
	{ROW_GRADE, false, "username", "", "", ""},
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PageReader	reader = {.path = "/schools/s/students?limit=1",.subject = "students",.take_row = take_row,.taker =
		&taken,
	.school_id = "s",.ended_before = "2026-01-01"};
	HttpResponse response = {.status = 200,.content_type = "application/json"};
	RosterFault *fault;
	int			values = 0;

	if (size == 0)
		return 0;
	backend_reset();
	compare_parsers(data + 1, size - 1);
	backend_reset();
	taken = nameless = 0;
	reader.kind = (data[0] & 1) ? PAGE_ORGS : PAGE_USERS;
	if ((data[0] >> 3 & 7) >= 1 && (data[0] >> 3 & 7) <= PAGE_DEMOGRAPHICS - PAGE_ORGS)
		reader.kind = PAGE_ORGS + (data[0] >> 3 & 7);
	kind = reader.kind;
	reader.unwanted = (data[0] & 4) != 0 ? 0 : ROW_FIELD_BIT(FIELD_METADATA);
	if (data[0] & 2)
		strcpy(reader.envelope, "students");
	if ((data[0] & 8) != 0 && reader.kind == PAGE_USERS)
	{
		reader.paths = paths;
		reader.npaths = lengthof(paths);
	}
	response.len = size - 1;
	response.body = malloc(size);
	memcpy(response.body, data + 1, size - 1);
	response.body[size - 1] = '\0';

	fault = read_page(&reader, &response);
	if (fault != NULL)
		check_fault(fault);
	else
		check(reader.rows == taken + reader.without_id, "every row is taken or counted as one without an id");
	check(taken <= occurrences(data + 1, size - 1, '{'), "rows are objects");
	for (const char *beginning = "{[\"tf"; *beginning != '\0'; beginning++)
		values += occurrences(data + 1, size - 1, *beginning);
	check(nameless <= values, "agents without an id are values");
	check(!reader.bare || reader.rows == 0, "an object without rows has none");
	free(response.body);
	backend_reset();
	return 0;
}
