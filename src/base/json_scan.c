/*
 * json_scan.c
 *	  Takes JSON apart in one pass: valid UTF-8 in, and for each token where it
 *	  stands.  Nothing is copied, and what the caller does not want is passed over,
 *	  but for being checked.
 *
 * A roster is hundreds of MB of it, and PostgreSQL's own parser takes most of the time
 * of a fetch: it looks at each character by itself and copies keys and numbers.
 * What is JSON is the same here as there (test/fuzz/page.c compares the two on every input).
 *
 * What it must survive: any bytes.  It reads none beyond the length it is given,
 * and takes no memory, however deep or long the JSON is.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"

#include "base/json_scan.h"

#define EACH_BYTE(byte) (UINT64CONST(0x0101010101010101) * (byte))
#define HIGH_BITS EACH_BYTE(0x80)

/* The bits of a word's bytes that are below n; only the lowest one is sure, those above it may be too many. */
#define BYTES_BELOW(word, n) (((word) - EACH_BYTE(n)) & ~(word) & HIGH_BITS)
#define BYTES_EQUAL(word, byte) BYTES_BELOW((word) ^ EACH_BYTE(byte), 1)

typedef struct Scan
{
	const char *next;
	const char *end;
	const char *token;			/* where the current one begins */
} Scan;

static inline void
skip_space(Scan *scan)
{
	while (scan->next < scan->end &&
		   (*scan->next == ' ' || *scan->next == '\n' || *scan->next == '\r' || *scan->next == '\t'))
		scan->next++;
	scan->token = scan->next;
}

/* Of the bytes from there on, the first that ends a run of plain ones in a string: a quote, backslash or control. */
static inline const char *
end_of_plain(const char *from, const char *end)
{
	while (end - from >= 8)
	{
		uint64		word;
		uint64		found;

		memcpy(&word, from, 8);
		found = BYTES_EQUAL(word, '"') | BYTES_EQUAL(word, '\\') | BYTES_BELOW(word, ' ');
		if (found != 0)
		{
#ifdef WORDS_BIGENDIAN
			break;
#else
			return from + pg_rightmost_one_pos64(found) / 8;
#endif
		}
		from += 8;
	}
	while (from < end && *from != '"' && *from != '\\' && (unsigned char) *from >= ' ')
		from++;
	return from;
}

static bool
is_hex_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Takes the string whose first quote is the next byte; false where it is none, or not whole. */
static pg_attribute_always_inline bool
take_string(Scan *scan, JsonToken *string)
{
	const char *c = scan->next + 1;

	string->type = JSON_TOKEN_STRING;
	string->start = c;
	string->escaped = false;
	while ((c = end_of_plain(c, scan->end)) < scan->end && *c == '\\')
	{
		string->escaped = true;
		c++;
		if (c < scan->end && *c == 'u')
		{
			for (int i = 0; i < 4; i++)
			{
				c++;
				if (c >= scan->end || !is_hex_digit(*c))
				{
					scan->next = Min(c, scan->end);
					return false;
				}
			}
		}
		else if (c >= scan->end || *c == '\0' || strchr("\"\\/bfnrt", *c) == NULL)
		{
			scan->next = c;
			return false;
		}
		c++;
	}
	scan->next = c;
	if (c >= scan->end || *c != '"')
		return false;
	string->len = c - string->start;
	scan->next++;
	return true;
}

/* Whether the byte goes on with what begins as a number or a word. */
static inline bool
is_of_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || IS_HIGHBIT_SET(c);
}

static const char *
end_of_digits(const char *from, const char *end)
{
	while (from < end && *from >= '0' && *from <= '9')
		from++;
	return from;
}

/* Takes a number or a word; false where it is none. */
static bool
take_plain(Scan *scan, JsonToken *value)
{
	const char *end = scan->end;
	const char *c = scan->next;
	bool		valid = true;

	value->start = c;
	value->escaped = false;
	if (c < end && (*c == '-' || (*c >= '0' && *c <= '9')))
	{
		const char *digits;

		value->type = JSON_TOKEN_NUMBER;
		digits = (*c == '-') ? ++c : c;
		c = end_of_digits(c, end);
		valid = (c > digits && (*digits != '0' || c == digits + 1));
		if (c < end && *c == '.')
		{
			digits = ++c;
			c = end_of_digits(c, end);
			valid &= (c > digits);
		}
		if (c < end && (*c == 'e' || *c == 'E'))
		{
			c++;
			if (c < end && (*c == '+' || *c == '-'))
				c++;
			digits = c;
			c = end_of_digits(c, end);
			valid &= (c > digits);
		}
	}
	value->len = c - value->start;
	while (c < end && is_of_word(*c))
		c++;
	if (value->len > 0)
		valid &= (c == value->start + value->len);
	else
	{
		value->len = c - value->start;
		if (value->len == 4 && memcmp(value->start, "true", 4) == 0)
			value->type = JSON_TOKEN_TRUE;
		else if (value->len == 5 && memcmp(value->start, "false", 5) == 0)
			value->type = JSON_TOKEN_FALSE;
		else if (value->len == 4 && memcmp(value->start, "null", 4) == 0)
			value->type = JSON_TOKEN_NULL;
		else
			valid = false;
	}
	scan->next = c;
	return valid;
}

/*
 * Takes the text, which is valid UTF-8, apart.  Unless it is whole, *place is the offset of the
 * token that is wrong.  Until then the actions have been called for what comes before it.
 */
JsonVerdict
json_scan(const char *json, size_t len, const JsonActions *actions, void *state, size_t *place)
{
	Scan		scan = {json, json + len, json};
	int			depth = 0;
	int			passed_over = 0;	/* depth of the object whose field is passed over, 0: none */
	uint64		objects = 0;	/* a bit for each level: it is an object, not an array */
	JsonToken	token;

	StaticAssertStmt(JSON_NESTING_MAX <= 64, "a level has a bit");
value:
	skip_space(&scan);
	if (scan.next == scan.end)
		goto wrong;
	if (*scan.next == '"')
	{
		if (!take_string(&scan, &token))
			goto wrong;
		if (passed_over == 0)
			actions->scalar(state, &token);
	}
	else if (*scan.next == '{' || *scan.next == '[')
	{
		bool		object = (*scan.next == '{');

		if (depth == JSON_NESTING_MAX)
		{
			*place = scan.token - json;
			return JSON_IS_TOO_DEEP;
		}
		if (passed_over == 0)
		{
			if (object)
				actions->object_start(state, scan.token);
			else
				actions->array_start(state, scan.token);
		}
		objects = (objects << 1) | object;
		depth++;
		scan.next++;
		skip_space(&scan);
		if (scan.next < scan.end && *scan.next == (object ? '}' : ']'))
			goto close;
		if (object)
			goto key;
		goto value;
	}
	else
	{
		if (!take_plain(&scan, &token))
			goto wrong;
		if (passed_over == 0)
			actions->scalar(state, &token);
	}

after:
	if (passed_over == depth)
		passed_over = 0;
	skip_space(&scan);
	if (depth == 0)
	{
		if (scan.next == scan.end)
			return JSON_IS_WHOLE;
		goto wrong;
	}
	if (scan.next == scan.end)
		goto wrong;
	if (*scan.next == ',')
	{
		scan.next++;
		if (objects & 1)
			goto key;
		goto value;
	}
	if (*scan.next != ((objects & 1) ? '}' : ']'))
		goto wrong;

close:
	scan.next++;
	if (passed_over == 0)
	{
		if (objects & 1)
			actions->object_end(state, scan.next);
		else
			actions->array_end(state, scan.next);
	}
	objects >>= 1;
	depth--;
	goto after;

key:
	skip_space(&scan);
	if (scan.next == scan.end || *scan.next != '"' || !take_string(&scan, &token))
		goto wrong;
	skip_space(&scan);
	if (scan.next == scan.end || *scan.next != ':')
		goto wrong;
	scan.next++;
	if (passed_over == 0 && !actions->field(state, &token))
		passed_over = depth;
	goto value;

wrong:
	/* What is wrong at the very end may be so because the rest is missing. */
	*place = scan.token - json;
	if (scan.next == scan.token)
	{
		while (scan.next < scan.end && is_of_word(*scan.next))
			scan.next++;
		scan.next = Min(Max(scan.next, scan.token + 1), scan.end);
	}
	return scan.next == scan.end ? JSON_BREAKS_OFF : JSON_IS_WRONG;
}
