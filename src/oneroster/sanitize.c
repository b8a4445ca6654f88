/*
 * sanitize.c
 *	  Makes the bytes of a page fit for the JSON parser and for text values of a
 *	  database in UTF-8.
 *
 * A parser stops at the first bad character, and with it the whole school
 * would be lost for one name; so each becomes U+FFFD here, and its place is
 * kept for the row around it to be marked.  What is well-formed, as nearly all
 * pages are, is read over and not copied.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "oneroster/sanitize.h"

#define ESCAPE_LEN 6			/* of \uXXXX */

/* Notes that the mended page has U+FFFD at that offset; false: too many. */
static bool
note_place(MendedPage *page, int place)
{
	if (page->places_count == MENDED_PLACES_MAX)
		return false;
	if (page->places_count == page->places_size)
	{
		page->places_size = Max(64, page->places_size * 2);
		page->places = page->places == NULL
			? palloc(page->places_size * sizeof(int))
			: repalloc(page->places, page->places_size * sizeof(int));
	}
	page->places[page->places_count++] = place;
	return true;
}

static int
compare_places(const void *a, const void *b)
{
	int			left = *(const int *) a;
	int			right = *(const int *) b;

	return (left > right) - (left < right);
}

/* Whether a string of the page, which is valid UTF-8, holds a control character. */
static bool
has_control_character(const char *json, size_t len)
{
	const char *end = json + len;
	const char *rest = json;
	bool		in_string = false;
	uint64		found = 0;

	/* eight bytes at a time: most pages have none, in strings or between them */
	for (; end - rest >= 8 && found == 0; rest += 8)
	{
		uint64		bytes;

		memcpy(&bytes, rest, 8);
		found = (bytes - UINT64CONST(0x2020202020202020)) & ~bytes & UINT64CONST(0x8080808080808080);
	}
	for (; rest < end && found == 0; rest++)
		found = ((unsigned char) *rest < ' ');
	if (found == 0)
		return false;

	for (const char *c = json; c < end; c++)
	{
		if (*c == '"')
			in_string = !in_string;
		else if (in_string)
		{
			if ((unsigned char) *c < ' ')
				return true;
			if (*c == '\\' && c + 1 < end && (c[1] == '"' || c[1] == '\\'))
				c++;
		}
	}
	return false;
}

/*
 * Copies the page with U+FFFD for each byte that is no UTF-8, and for control
 * characters inside strings (outside they are white space, or the parser's to
 * refuse).
 */
static bool
mend_bytes(MendedPage *page)
{
	const char *from = page->json;
	const char *end = page->json + page->len;
	char	   *copy = palloc(page->len + 2 * MENDED_PLACES_MAX + 1);
	char	   *to = copy;
	bool		in_string = false;

	while (from < end)
	{
		int			len = pg_encoding_verifymbchar(PG_UTF8, from, end - from);

		if (len < 1 || (in_string && (unsigned char) *from < ' '))
		{
			if (!note_place(page, to - copy))
				return false;
			memcpy(to, "\xEF\xBF\xBD", 3);
			to += 3;
			from++;
			continue;
		}
		if (*from == '"')
			in_string = !in_string;
		else if (*from == '\\' && in_string && end - from > 1 && (from[1] == '"' || from[1] == '\\'))
			len = 2;
		memcpy(to, from, len);
		to += len;
		from += len;
	}
	*to = '\0';
	page->json = copy;
	page->len = to - copy;
	return true;
}

/* The code unit of the escape \uXXXX at that place, -1 where there is none. */
static int
escaped_unit(const char *place, const char *end)
{
	int			unit = 0;

	if (end - place < ESCAPE_LEN || place[0] != '\\' || place[1] != 'u')
		return -1;
	for (int i = 2; i < ESCAPE_LEN; i++)
	{
		char		c = place[i];

		unit *= 16;
		if (c >= '0' && c <= '9')
			unit += c - '0';
		else if (c >= 'a' && c <= 'f')
			unit += c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			unit += c - 'A' + 10;
		else
			return -1;
	}
	return unit;
}

/* Overwrites \u0000 and lone surrogates with \ufffd. */
static bool
mend_escapes(MendedPage *page)
{
	char	   *place = page->json;
	char	   *end = page->json + page->len;

	while ((place = memchr(place, '\\', end - place)) != NULL)
	{
		int			unit = escaped_unit(place, end);
		int			next;

		if (unit < 0)
		{
			place += Min(2, end - place);
			continue;
		}
		next = (unit >= 0xD800 && unit <= 0xDBFF) ? escaped_unit(place + ESCAPE_LEN, end) : -1;
		if (next >= 0xDC00 && next <= 0xDFFF)
			place += 2 * ESCAPE_LEN;
		else
		{
			if (unit == 0 || (unit >= 0xD800 && unit <= 0xDFFF))
			{
				if (!note_place(page, place - page->json))
					return false;
				memcpy(place, "\\ufffd", ESCAPE_LEN);
			}
			place += ESCAPE_LEN;
		}
	}
	return true;
}

/* First byte after a byte order mark and white space; NUL where there is none. */
char
page_first_byte(const char *body, size_t len)
{
	size_t		place = (len >= 3 && memcmp(body, "\xEF\xBB\xBF", 3) == 0) ? 3 : 0;

	while (place < len && strchr(" \t\r\n", body[place]) != NULL && body[place] != '\0')
		place++;
	return place < len ? body[place] : '\0';
}

/*
 * The body without its byte order mark and with every bad character mended, in
 * place or as a copy palloc'd in the current memory context; false where there
 * are more than MENDED_PLACES_MAX of them.
 */
bool
mend_page(char *body, size_t len, MendedPage *page)
{
	memset(page, 0, sizeof(MendedPage));
	page->json = body;
	page->len = len;
	if (len >= 3 && memcmp(body, "\xEF\xBB\xBF", 3) == 0)
	{
		page->json += 3;
		page->len -= 3;
	}
	if (!pg_verify_mbstr(PG_UTF8, page->json, page->len, true) || has_control_character(page->json, page->len))
	{
		if (!mend_bytes(page))
			return false;
	}
	if (!mend_escapes(page))
		return false;
	if (page->places_count > 1)
		qsort(page->places, page->places_count, sizeof(int), compare_places);
	return true;
}
