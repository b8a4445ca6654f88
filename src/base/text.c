/*
 * text.c
 *	  Which characters a text may hold that people read, in a table, a mail, a log
 *	  or a terminal: the one place that decides.
 *
 * Those who fill a field of a SIS, or answer a request, choose its characters.
 * Those that no reader sees but that act on what is seen, or that end a line,
 * are taken out of what they send: controls (C0, DEL, C1), line and paragraph
 * separators, controls of direction, annotations, tags and U+FEFF.  U+200C and
 * U+200D stay, as some scripts need them.
 *
 * Each row of a roster comes through here: one without such bytes is read over
 * once and not copied.
 */
#include "postgres.h"

#include <ctype.h>

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/text.h"

ROSTER_FUNCTION(roster_readable);

typedef enum CharacterFate
{
	STAYS,
	BECOMES_SPACE,				/* in an id it is removed */
	IS_REMOVED
} CharacterFate;

static CharacterFate
fate_of(pg_wchar character)
{
	static const struct
	{
		pg_wchar	first;
		pg_wchar	last;
	}			removed[] = {
		{0x0000, 0x001F},
		{0x007F, 0x009F},
		{0x061C, 0x061C},		/* marks, embeddings, overrides and isolates of direction */
		{0x200E, 0x200F},
		{0x202A, 0x202E},
		{0x2066, 0x206F},
		{0xFEFF, 0xFEFF},
		{0xFFF9, 0xFFFB},
		{0xE0000, 0xE007F},
	};

	if ((character >= '\t' && character <= '\r') || character == 0x85 || character == 0x2028 || character == 0x2029)
		return BECOMES_SPACE;
	for (int i = 0; i < lengthof(removed); i++)
	{
		if (character >= removed[i].first && character <= removed[i].last)
			return IS_REMOVED;
	}
	return STAYS;
}

/* Whether one of the characters that do not stay begins with that byte: a few others do too. */
static inline bool
begins_suspect(unsigned char byte)
{
	if (byte >= ' ' && byte < 0x7F)
		return false;
	return byte < ' ' || byte == 0x7F || byte == 0xC2 || byte == 0xD8 || byte == 0xE2 || byte == 0xEF || byte == 0xF3;
}

/* What becomes of the character there. */
static inline CharacterFate
fate_at(const char *place)
{
	return begins_suspect((unsigned char) *place) ? fate_of(utf8_to_unicode((const unsigned char *) place)) : STAYS;
}

/*
 * The value, which is valid UTF-8, without the characters that are unfit, with
 * its new length: palloc'd and NUL-terminated, or NULL where it has none.  What
 * ends a line, and a tab, becomes a space, and spaces around it or around what
 * was removed become one; in an id all is removed, and nothing put in its place.
 */
char *
text_cleaned(const char *value, int *len, bool is_id)
{
	const char *end = value + *len;
	const char *from = value;
	char	   *result;
	char	   *to;
	bool		in_run = false; /* of spaces, where something became one or was removed */

	while (from < end && fate_at(from) == STAYS)
		from++;
	if (from == end)
		return NULL;

	result = palloc(*len + 1);
	memcpy(result, value, from - value);
	to = result + (from - value);
	while (from < end)
	{
		CharacterFate fate = fate_at(from);
		int			character_len = pg_utf_mblen((const unsigned char *) from);

		if (fate != STAYS && !is_id)
		{
			in_run = true;
			while (to - result >= 2 && to[-1] == ' ' && to[-2] == ' ')
				to--;
			if (fate == BECOMES_SPACE && (to == result || to[-1] != ' '))
				*to++ = ' ';
		}
		else if (fate == STAYS && !(in_run && *from == ' ' && to > result && to[-1] == ' '))
		{
			in_run &= (*from == ' ');
			memcpy(to, from, character_len);
			to += character_len;
		}
		from += character_len;
	}
	*to = '\0';
	*len = to - result;
	return result;
}

/*
 * A server's words, fit for a message: what is valid UTF-8 from their beginning
 * on, cleaned, at most max_bytes of it and no part of a character.  palloc'd.
 */
char *
printable(const char *value, int max_bytes)
{
	int			len = pg_encoding_verifymbstr(PG_UTF8, value, strnlen(value, 4 * (size_t) max_bytes));
	char	   *copy = text_cleaned(value, &len, false);

	if (copy == NULL)
		copy = pnstrdup(value, len);
	if (len > max_bytes)
	{
		len = max_bytes;
		while (len > 0 && ((unsigned char) copy[len] & 0xC0) == 0x80)
			len--;
		copy[len] = '\0';
	}
	return copy;
}

/*
 * The name of the encoding where bytes of JSON are not in UTF-8, but in one of
 * wider units, with a byte order mark or without; else NULL.
 */
const char *
text_wide_encoding(const char *bytes, size_t len)
{
	static const char *const utf_32[] = {"\xFF\xFE\0\0", "\0\0\xFE\xFF"};
	bool		zero[4];

	if (len < 2)
		return NULL;
	for (int i = 0; i < lengthof(utf_32) && len >= 4; i++)
	{
		if (memcmp(bytes, utf_32[i], 4) == 0)
			return "UTF-32";
	}
	if (memcmp(bytes, "\xFF\xFE", 2) == 0 || memcmp(bytes, "\xFE\xFF", 2) == 0)
		return "UTF-16";
	/* JSON begins with two ASCII characters, each with zeros beside it then. */
	for (int i = 0; i < lengthof(zero); i++)
		zero[i] = i < len && bytes[i] == '\0';
	if (zero[0] && zero[1])
		return zero[2] && !zero[3] && len >= 4 ? "UTF-32" : NULL;
	if (zero[1])
		return zero[2] && zero[3] ? "UTF-32" : "UTF-16";
	return zero[0] ? "UTF-16" : NULL;
}

/*
 * A server's words without what may be a secret or an address of someone:
 * words with an "@", and long ones that look like a token, become three dots.
 * palloc'd.
 */
char *
text_without_secrets(const char *words)
{
	const int	token_min = 20;
	StringInfoData result;

	initStringInfo(&result);
	while (*words != '\0')
	{
		int			spaces = strspn(words, " ");
		int			len = strcspn(words + spaces, " ");
		const char *word = words + spaces;
		int			run = 0;
		int			longest = 0;
		bool		digit = false;
		bool		address = false;

		for (int i = 0; i < len; i++)
		{
			address |= (word[i] == '@');
			digit |= (word[i] >= '0' && word[i] <= '9');
			run = word[i] != '\0' && strchr("/+=_.~-%", word[i]) != NULL ? run + 1 :
				isalnum((unsigned char) word[i]) && !IS_HIGHBIT_SET(word[i]) ? run + 1 : 0;
			longest = Max(longest, run);
		}
		appendBinaryStringInfo(&result, words, spaces);
		if (address || (longest >= token_min && digit))
			appendStringInfoString(&result, "...");
		else
			appendBinaryStringInfo(&result, word, len);
		words = word + len;
	}
	return result.data;
}

/* readable(text): the same for what SQL puts together. */
Datum
roster_readable(PG_FUNCTION_ARGS)
{
	text	   *content = PG_GETARG_TEXT_PP(0);
	int			len = VARSIZE_ANY_EXHDR(content);
	char	   *cleaned = text_cleaned(VARDATA_ANY(content), &len, false);

	if (cleaned == NULL)
		PG_RETURN_TEXT_P(content);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(cleaned, len));
}
