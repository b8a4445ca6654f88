/*
 * page.c
 *	  Takes one page of a collection apart: bytes of an answer in, rows out.
 *
 * Whatever a server sends, reading it ends in rows or in a fault, never in an
 * error raised here, and no message holds a word of the page but the server's
 * own description of a failure and the names of its top-level keys.  One bad
 * row never spoils its page:
 *	- bytes that are no UTF-8, \u0000, lone surrogates and bare control
 *	  characters become U+FFFD before parsing (sanitize.c), and the row around them
 *	  is marked damaged;
 *	- a field of another JSON type than its own, or too long, is left out and,
 *	  where it says who someone is, the row marked damaged (row.c);
 *	- a row without a usable sourcedId (none, too long, mended) is counted and passed over.
 *
 * The scan of the JSON (json_scan.c) only says where things stand, and what a row
 * needs is copied from there, into memory that the next row takes again.  So
 * memory is that of one row, whatever a page holds beside its rows.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/json_scan.h"
#include "base/text.h"
#include "net/http.h"
#include "oneroster/fault.h"
#include "oneroster/object_row.h"
#include "oneroster/page.h"
#include "oneroster/row.h"
#include "oneroster/row_metadata.h"
#include "oneroster/row_paths.h"
#include "oneroster/row_roles.h"
#include "oneroster/row_values.h"
#include "oneroster/sanitize.h"

#define KEYS_SHOWN 5
#define DESCRIPTION_MAX 200		/* bytes of a server's own words */
#define REFUSAL_MAX (64 * 1024) /* bytes of an answer that are searched for them */
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"

typedef enum OutsideKey
{
	OUTSIDE_OTHER,
	OUTSIDE_CODE,
	OUTSIDE_DESCRIPTION
} OutsideKey;

/* State of one parse.  Depth counts open objects and arrays. */
typedef struct PageParse
{
	PageReader *reader;
	const MendedPage *page;
	int			damage_passed;	/* places before the current row */
	int			depth;
	size_t		wrong_place;	/* of JSON that cannot be read */

	/* the object around the rows */
	const char *envelope;		/* key whose array is read */
	const char *path_key;		/* last segment of the path */
	bool		envelope_found;
	bool		envelope_is_null;
	bool		path_key_found;
	int			other_arrays;
	int			keys;			/* but those of a status */
	char		key[NAMEDATALEN];	/* the current one */
	char		other_key[NAMEDATALEN]; /* of an array that is not the envelope */
	StringInfoData key_names;
	OutsideKey	outside_key;
	bool		failure;
	char	   *description;

	/* rows */
	int			rows_depth;		/* inside their array, 0 outside */
	bool		in_row;
	bool		in_list;		/* inside the array of a list field */
	int			role_depth;		/* inside an element of roles, else 0 */
	int			reference_depth;	/* inside a reference, else 0 */
	int			metadata_depth; /* inside the object of metadata, else 0 */
	const char *metadata;		/* where it begins */
	bool		at_path;		/* at the value of a field with which a path begins */
	int			path_depth;		/* inside its object or array, else 0 */
	const char *path_value;		/* where that begins */
	bool		reference_id;	/* its current key is sourcedId */
	RowMaker	maker;
} PageParse;

static void
begin_row(PageParse *parse, const char *begin)
{
	int			start = begin - parse->page->json;

	row_begin(&parse->maker);
	parse->in_row = true;
	parse->in_list = false;
	parse->role_depth = 0;
	parse->reference_depth = 0;
	parse->metadata_depth = 0;
	parse->at_path = false;
	parse->path_depth = 0;
	while (parse->damage_passed < parse->page->places_count &&
		   parse->page->places[parse->damage_passed] < start)
		parse->damage_passed++;
}

/* A row, with or without an id, is over. */
static void
count_row(PageParse *parse, PageRow *row)
{
	const text *sourced_id = row == NULL ? NULL : row->texts[ROW_SOURCED_ID];

	PageReader *reader = parse->reader;

	CHECK_FOR_INTERRUPTS();
	reader->rows++;
	if (sourced_id == NULL)
		reader->without_id++;
	else
	{
		row->id_hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(sourced_id),
										   VARSIZE_ANY_EXHDR(sourced_id), 0);
		reader->ids_hash += row->id_hash;
	}
}

static void
end_row(PageParse *parse, int end)
{
	PageRow    *row = &parse->maker.row;

	parse->in_row = false;
	row_end(&parse->maker, parse->damage_passed < parse->page->places_count &&
			parse->page->places[parse->damage_passed] < end);
	count_row(parse, row);
	if (row->texts[ROW_SOURCED_ID] != NULL)
		parse->reader->take_row(parse->reader->taker, row);
}

/* Within a row: at the value of a field, an element of its list, or a value of an element of roles. */
static bool
at_field(const PageParse *parse)
{
	int			in_row_depth = parse->depth - parse->rows_depth;

	if (parse->role_depth > 0)
		return parse->depth == parse->role_depth;
	return in_row_depth == 1 || (in_row_depth == 2 && parse->in_list);
}

/* Whether the object or array that begins there holds nothing, as some servers write an absent value. */
static bool
is_empty_container(const PageParse *parse, const char *start)
{
	const char *next = start + 1;
	const char *end = parse->page->json + parse->page->len;

	while (next < end && (*next == ' ' || *next == '\t' || *next == '\n' || *next == '\r'))
		next++;
	return next < end && (*next == '}' || *next == ']');
}

/* An object or array where the current field has no such thing. */
static void
misplaced_container(PageParse *parse, const char *start)
{
	if (parse->maker.field == FIELD_NONE)
		return;
	if (is_empty_container(parse, start))
		row_set_field(&parse->maker, NULL, 0, JSON_TOKEN_NULL);
	else
		row_spoil_field(&parse->maker);
}

/* An object or array begins that may be what a path begins with. */
static void
begin_path_value(PageParse *parse, const char *start)
{
	if (!parse->at_path || parse->depth != parse->rows_depth + 1)
		return;
	parse->path_depth = parse->depth + 1;
	parse->path_value = start;
}

static void
end_path_value(PageParse *parse, const char *end)
{
	if (parse->path_depth == 0 || parse->path_depth != parse->depth)
		return;
	parse->path_depth = 0;
	row_take_paths(&parse->maker, parse->path_value, end - parse->path_value);
}

static void
object_start(void *state, const char *start)
{
	PageParse  *parse = state;
	int			in_row_depth = parse->depth - parse->rows_depth;	/* 1: a field's value */

	if (parse->in_row)
	{
		begin_path_value(parse, start);
		if (parse->maker.field == FIELD_ROLES && parse->role_depth == 0 && at_field(parse))
		{
			parse->role_depth = parse->depth + 1;
			row_begin_role(&parse->maker);
		}
		else if (parse->maker.field == FIELD_METADATA && in_row_depth == 1)
		{
			parse->metadata_depth = parse->depth + 1;
			parse->metadata = start;
		}
		else if (at_field(parse))
		{
			if (row_field_is_reference(&parse->maker, parse->role_depth == 0 && in_row_depth == 2))
			{
				parse->reference_depth = parse->depth + 1;
				parse->reference_id = false;
				row_begin_reference(&parse->maker);
			}
			else
				misplaced_container(parse, start);
		}
	}
	else if (parse->rows_depth > 0 && in_row_depth == 0)
		begin_row(parse, start);
	parse->depth++;
}

static void
object_end(void *state, const char *end)
{
	PageParse  *parse = state;

	end_path_value(parse, end);
	if (parse->reference_depth == parse->depth)
	{
		parse->reference_depth = 0;
		row_end_reference(&parse->maker);
	}
	else if (parse->role_depth == parse->depth)
	{
		parse->role_depth = 0;
		row_end_role(&parse->maker);
	}
	else if (parse->metadata_depth == parse->depth)
	{
		parse->metadata_depth = 0;
		row_take_metadata(&parse->maker, parse->metadata, end - parse->metadata);
	}
	parse->depth--;
	if (parse->in_row && parse->depth == parse->rows_depth)
		end_row(parse, end - parse->page->json);
}

/* Whether a key around the rows belongs to a status: no rows stand under it. */
static bool
is_of_status(const char *key)
{
	return strcmp(key, "statusInfoSet") == 0 || strncmp(key, "imsx_", 5) == 0;
}

static void
array_start(void *state, const char *start)
{
	PageParse  *parse = state;
	int			in_row_depth = parse->depth - parse->rows_depth;

	if (parse->in_row)
	{
		begin_path_value(parse, start);
		if (in_row_depth == 1 && row_field_is_list(&parse->maker))
			parse->in_list = true;
		else if (at_field(parse))
			misplaced_container(parse, start);
	}
	else if (parse->rows_depth > 0)
	{
		if (in_row_depth == 0)
			count_row(parse, NULL);
	}
	else if (parse->depth == 0 || (parse->depth == 1 && strcmp(parse->key, parse->envelope) == 0))
	{
		parse->envelope_found = true;
		parse->rows_depth = parse->depth + 1;
	}
	else if (parse->depth == 1 && parse->outside_key == OUTSIDE_OTHER && !is_of_status(parse->key))
	{
		parse->other_arrays++;
		strlcpy(parse->other_key, parse->key, sizeof(parse->other_key));
		if (strcmp(parse->key, parse->path_key) == 0)
			parse->path_key_found = true;
	}
	parse->depth++;
}

static void
array_end(void *state, const char *end)
{
	PageParse  *parse = state;

	end_path_value(parse, end);
	parse->depth--;
	if (!parse->in_row && parse->depth == parse->rows_depth - 1)
		parse->rows_depth = 0;
	else if (parse->in_row && parse->depth == parse->rows_depth + 1)
		parse->in_list = false;
}

/* Notes a key of the object around the rows. */
static void
outside_field(PageParse *parse, const char *key, int len)
{
	char		name[NAMEDATALEN];

	len = Min(len, NAMEDATALEN - 1);
	memcpy(name, key, len);
	name[len] = '\0';
	parse->outside_key = pg_strcasecmp(name, "imsx_codeMajor") == 0 ? OUTSIDE_CODE :
		pg_strcasecmp(name, "imsx_description") == 0 ? OUTSIDE_DESCRIPTION : OUTSIDE_OTHER;
	if (parse->depth != 1)
		return;
	strcpy(parse->key, name);
	if (is_of_status(name))
		return;
	/* a key with other characters may be an id, and that is someone's */
	if (parse->keys++ < KEYS_SHOWN && strspn(name, LETTERS) == len)
		appendStringInfo(&parse->key_names, "%s\"%s\"", parse->key_names.len > 0 ? ", " : "", name);
}

/* A scalar outside the rows: a status, or a list that is null. */
static void
outside_scalar(PageParse *parse, const char *value, int len, JsonTokenType type)
{
	if (parse->outside_key == OUTSIDE_CODE)
		parse->failure |= (len == 7 && pg_strncasecmp(value, "failure", 7) == 0);
	else if (parse->outside_key == OUTSIDE_DESCRIPTION && parse->description == NULL)
		parse->description = text_without_secrets(printable(pnstrdup(value, len), DESCRIPTION_MAX));
	else if (parse->depth == 1 && type == JSON_TOKEN_NULL && strcmp(parse->key, parse->envelope) == 0)
		parse->envelope_found = parse->envelope_is_null = true;
}

/* Whether the value of the key is of interest.  A key with an escape in it is none of ours. */
static bool
field(void *state, const JsonToken *key)
{
	PageParse  *parse = state;
	int			len = key->escaped ? 0 : key->len;

	if (parse->in_row && parse->depth == parse->rows_depth + 1)
	{
		row_begin_field(&parse->maker, key->start, len);
		parse->at_path = row_paths_begin_field(&parse->maker, key->start, len);
		return parse->maker.field != FIELD_NONE || parse->at_path;
	}
	else if (parse->in_row && parse->depth == parse->role_depth)
		row_begin_role_field(&parse->maker, key->start, len);
	else if (parse->in_row && parse->depth == parse->reference_depth)
		return len == 9 && memcmp(key->start, "sourcedId", 9) == 0;
	else if (parse->rows_depth == 0)
	{
		outside_field(parse, key->start, len);
		return true;
	}
	else
		return false;
	return parse->maker.field != FIELD_NONE;
}

static void
scalar(void *state, const JsonToken *token)
{
	PageParse  *parse = state;
	const char *value = token->start;
	int			len = token->len;
	char	   *unescaped = NULL;

	if (!parse->in_row && parse->rows_depth > 0 && parse->depth == parse->rows_depth)
		count_row(parse, NULL);
	if (parse->in_row && parse->at_path && parse->depth == parse->rows_depth + 1)
	{
		int			quote = (token->type == JSON_TOKEN_STRING) ? 1 : 0;

		row_take_paths(&parse->maker, value - quote, len + 2 * quote);
	}
	if (parse->in_row ? parse->maker.field == FIELD_NONE || !(at_field(parse) || parse->depth == parse->reference_depth)
		: parse->rows_depth > 0)
		return;

	if (token->escaped)
	{
		unescaped = compat_json_unescape(value - 1, len + 2);
		value = unescaped;
		len = strlen(value);
	}
	if (parse->in_row)
	{
		parse->maker.within_field = (parse->depth != parse->rows_depth + 1);
		parse->maker.in_reference = (parse->reference_depth != 0);
		row_set_field(&parse->maker, value, len, token->type);
	}
	else
		outside_scalar(parse, value, len, token->type);
	if (unescaped != NULL)
		pfree(unescaped);
}

/* One pass over the page, reading the array under the key "envelope". */
static JsonVerdict
parse_page(PageParse *parse, PageReader *reader, const MendedPage *page, const char *envelope, const char *path_key)
{
	static const JsonActions actions = {
		.object_start = object_start,
		.object_end = object_end,
		.array_start = array_start,
		.array_end = array_end,
		.field = field,
		.scalar = scalar,
	};

	memset(parse, 0, sizeof(PageParse));
	parse->reader = reader;
	parse->page = page;
	parse->envelope = envelope;
	parse->path_key = path_key;
	parse->maker.kind = reader->kind;
	parse->maker.school_id = reader->school_id;
	parse->maker.ended_before = reader->ended_before;
	parse->maker.unwanted = reader->unwanted;
	parse->maker.paths = reader->paths;
	parse->maker.npaths = reader->npaths;
	parse->maker.values = AllocSetContextCreate(CurrentMemoryContext, "minga_roster row", ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&parse->key_names);
	reader->rows = reader->without_id = 0;
	reader->ids_hash = 0;
	return json_scan(page->json, page->len, &actions, parse, &parse->wrong_place);
}

static void
pass_row(void *taker, PageRow *row)
{
}

/* Last segment of the path, without its query.  palloc'd. */
static char *
last_segment(const char *path)
{
	int			len = strcspn(path, "?");
	int			start = len;

	while (start > 0 && path[start - 1] != '/')
		start--;
	return pnstrdup(path + start, len - start);
}

/* The key that OneRoster gives to a list of rows of the kind. */
static const char *
envelope_of(PageKind kind)
{
	return kind == PAGE_USERS ? "users" : kind == PAGE_ORGS ? "orgs" : object_kind(kind)->envelope;
}

/* What is no JSON at all. */
static RosterFault *
not_json(PageReader *reader, const HttpResponse *response, char first)
{
	const char *content_type = response->content_type == NULL ? "none" : printable(response->content_type, 100);

	if (first == '<' || (response->content_type != NULL && pg_strncasecmp(response->content_type, "text/html", 9) == 0))
		return fault_make(ERRCODE_PROTOCOL_VIOLATION,
						  psprintf("the SIS answered the request for %s with a web page", reader->subject),
						  psprintf("The answer has status 200 and content type \"%s\", and holds HTML where JSON was "
								   "expected.", content_type),
						  "Often this is a login or maintenance page. Check that the base URL is that of OneRoster; "
						  "if it is, ask the SIS vendor why the address answers with a page for people.");
	if (first == '\0')
		return fault_make(ERRCODE_PROTOCOL_VIOLATION,
						  psprintf("the SIS answered the request for %s with nothing", reader->subject),
						  "The answer has status 200 and an empty body.",
						  "An empty list would be a valid answer, but an empty body is not. Ask the SIS vendor.");
	return fault_make(ERRCODE_PROTOCOL_VIOLATION,
					  psprintf("the SIS answered the request for %s with something other than JSON", reader->subject),
					  psprintf("The answer has status 200, content type \"%s\" and %zu bytes, and begins with neither "
							   "{ nor [.", content_type, response->len),
					  "Check that the base URL is that of OneRoster; if it is, ask the SIS vendor.");
}

/* Where the JSON ends before its time, or is wrong. */
static RosterFault *
broken_json(PageReader *reader, PageParse *parse, JsonVerdict verdict)
{
	if (verdict == JSON_IS_TOO_DEEP)
		return fault_make(ERRCODE_INVALID_JSON_TEXT,
						  psprintf("the SIS answered the request for %s with JSON nested too deep", reader->subject),
						  psprintf("Objects and arrays are nested more than %d levels.", JSON_NESTING_MAX),
						  "OneRoster needs six. Ask the SIS vendor what the address sends.");
	if (verdict == JSON_BREAKS_OFF)
	{
		RosterFault *fault = fault_make(ERRCODE_PROTOCOL_VIOLATION,
										psprintf("the SIS broke off in the middle of its answer to the request for "
												 "%s", reader->subject),
										psprintf("The JSON ends after %zu bytes with objects or arrays still "
												 "open.", parse->page->len),
										"Start the run again; if it happens again, ask the SIS vendor, or ask for "
										"smaller pages with roster_configure(page_size => ...).");

		fault->broke_off = true;
		return fault;
	}
	return fault_make(ERRCODE_PROTOCOL_VIOLATION,
					  psprintf("the SIS answered the request for %s with invalid JSON", reader->subject),
					  psprintf("The JSON is wrong at byte %zu of %zu.", parse->wrong_place + 1, parse->page->len),
					  "Ask the SIS vendor: its server sends what no JSON parser can read.");
}

/*
 * The fault of an answer that holds no list of rows.  keys: the names of what
 * it holds instead, "" where that is nothing.
 */
RosterFault *
page_without_rows(PageReader *reader, const char *keys)
{
	return fault_make(ERRCODE_PROTOCOL_VIOLATION,
					  psprintf("the answer of the SIS to the request for %s holds no list", reader->subject),
					  keys[0] == '\0'
					  ? psprintf("The answer is an object without a list \"%s\".", envelope_of(reader->kind))
					  : psprintf("The answer is an object without a list \"%s\"; its keys are %s.",
								 envelope_of(reader->kind), keys),
					  "A missing list is not taken for an empty school. Ask the SIS vendor what this address returns.");
}

/*
 * How the SIS describes why it refuses, of an answer that is no page, cleaned
 * and cut, palloc'd; NULL where it does not say.  Mends the body in place.
 */
char *
page_description(char *body, size_t len)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	PageReader	reader = {.kind = PAGE_USERS,.take_row = pass_row};
	MendedPage	page;
	PageParse	parse;
	char	   *description = NULL;

	if (body == NULL || len > REFUSAL_MAX || text_wide_encoding(body, len) != NULL || page_first_byte(body, len) != '{')
		return NULL;
	context = AllocSetContextCreate(caller, "minga_roster refusal", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	if (mend_page(body, len, &page) && parse_page(&parse, &reader, &page, "users", "") == JSON_IS_WHOLE &&
		parse.description != NULL && parse.description[0] != '\0')
		description = MemoryContextStrdup(caller, parse.description);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return description;
}

/*
 * Takes the page of a 200 apart: calls reader->take_row for each row that has
 * an id, in the order of the page, and fills in what the page was.  Returns
 * NULL, or the fault that the page is, palloc'd, with some of its rows perhaps
 * taken.  Raises nothing but what take_row raises, a cancel, and out of
 * memory; needs no transaction.  Mends the body of the response in place.
 */
RosterFault *
read_page(PageReader *reader, HttpResponse *response)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "minga_roster page", ALLOCSET_DEFAULT_SIZES);
	const char *spec_key = envelope_of(reader->kind);
	RosterFault *fault = NULL;
	MendedPage	page;
	PageParse	parse;
	JsonVerdict verdict;
	char	   *path_key;
	const char *encoding;
	char		first;

	reader->bare = reader->null_list = false;
	reader->rows = reader->without_id = 0;
	reader->ids_hash = 0;

	encoding = text_wide_encoding(response->body, response->len);
	if (encoding != NULL)
	{
		MemoryContextDelete(context);
		return fault_make(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
						  psprintf("the SIS answered the request for %s in %s", reader->subject, encoding),
						  psprintf("The answer has status 200 and %zu bytes; OneRoster is JSON in "
								   "UTF-8.", response->len),
						  "Ask the SIS vendor to send UTF-8.");
	}
	first = page_first_byte(response->body, response->len);
	if (first != '{' && first != '[')
	{
		MemoryContextDelete(context);
		return not_json(reader, response, first);
	}

	MemoryContextSwitchTo(context);
	if (!mend_page(response->body, response->len, &page))
	{
		MemoryContextSwitchTo(caller);
		MemoryContextDelete(context);
		return fault_make(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
						  psprintf("the SIS answered the request for %s in something other than "
								   "UTF-8", reader->subject),
						  psprintf("More than %d places of the answer are invalid in UTF-8, or control "
								   "characters.", MENDED_PLACES_MAX),
						  "OneRoster is JSON in UTF-8. Ask the SIS vendor to send that.");
	}

	path_key = last_segment(reader->path);
	verdict = parse_page(&parse, reader, &page, reader->envelope[0] != '\0' ? reader->envelope : spec_key, path_key);
	if (verdict == JSON_IS_WHOLE && !parse.envelope_found && !parse.failure)
	{
		if (parse.path_key_found)
			verdict = parse_page(&parse, reader, &page, path_key, path_key);
		else if (parse.other_arrays == 1 && (reader->envelope[0] == '\0' || strcmp(parse.other_key, spec_key) == 0))
		{
			char	   *other_key = pstrdup(parse.other_key);

			verdict = parse_page(&parse, reader, &page, other_key, path_key);
			if (reader->rows > 0 && reader->rows == reader->without_id)
				parse.envelope_found = false;	/* a list of something else, such as errors */
		}
	}

	MemoryContextSwitchTo(caller);
	if (verdict != JSON_IS_WHOLE)
		fault = broken_json(reader, &parse, verdict);
	else if (parse.failure)
	{
		fault = fault_make(ERRCODE_PROTOCOL_VIOLATION,
						   psprintf("the SIS reported a failure to the request for %s", reader->subject),
						   parse.description == NULL
						   ? "The answer has status 200 and imsx_codeMajor \"failure\", without a description."
						   : "The answer has status 200 and imsx_codeMajor \"failure\".",
						   "Ask the SIS vendor, with the words of the SIS.");
		if (parse.description != NULL)
			fault->words = pstrdup(parse.description);
	}
	else if (parse.envelope_found)
	{
		reader->null_list = parse.envelope_is_null && reader->rows == 0;
		if (parse.envelope != reader->envelope)
			strlcpy(reader->envelope, parse.envelope, sizeof(reader->envelope));
	}
	else if (parse.keys == 0)
		reader->bare = true;
	else
		fault = page_without_rows(reader, parse.key_names.data);
	MemoryContextDelete(context);
	return fault;
}
