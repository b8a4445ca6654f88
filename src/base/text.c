/*
 * text.c
 *	  Which characters a text may hold that people read, in a table, a mail, a log
 *	  or a terminal: the one place that decides.
 *
 * Those who fill a field of a SIS, or answer a request, choose its characters.
 * Those that no reader sees but that act on what is seen, or that end a line,
 * are taken out of what they send: controls (C0, DEL, C1), line and paragraph
 * separators, controls of direction, what has no width and no meaning (soft
 * hyphen, U+200B, U+2060, U+FEFF, fillers), annotations, tags, and code points that
 * are no characters or of planes without letters.
 *
 * U+200C and U+200D join or part letters in Arabic and Indic scripts, and make one
 * emoji of several; variation selectors choose the form of a Han character, a
 * Mongolian letter or an emoji.  Each stays behind a character of that kind, where
 * it is part of how a name is written, and nowhere else, where nothing shows it.
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
	IS_REMOVED,
	STAYS_AS_JOINER,			/* behind a character whose script has joiners */
	STAYS_AS_VARIANT			/* behind a character that has several forms */
} CharacterFate;

typedef struct CharacterRange
{
	pg_wchar	first;
	pg_wchar	last;
	CharacterFate fate;
} CharacterRange;

static CharacterFate
fate_of(pg_wchar character)
{
	static const CharacterRange ranges[] = {
		{'\t', '\r', BECOMES_SPACE},
		{0x0085, 0x0085, BECOMES_SPACE},
		{0x2028, 0x2029, BECOMES_SPACE},
		{0x0000, 0x001F, IS_REMOVED},
		{0x007F, 0x009F, IS_REMOVED},
		{0x00AD, 0x00AD, IS_REMOVED},	/* soft hyphen */
		{0x034F, 0x034F, IS_REMOVED},	/* grapheme joiner, which joins nothing that is seen */
		{0x061C, 0x061C, IS_REMOVED},	/* marks, embeddings, overrides and isolates of direction */
		{0x115F, 0x1160, IS_REMOVED},	/* fillers of Hangul, which look like nothing */
		{0x17B4, 0x17B5, IS_REMOVED},	/* vowels of Khmer that are never seen */
		{0x180B, 0x180F, STAYS_AS_VARIANT}, /* of Mongolian */
		{0x200B, 0x200B, IS_REMOVED},
		{0x200C, 0x200D, STAYS_AS_JOINER},
		{0x200E, 0x200F, IS_REMOVED},
		{0x202A, 0x202E, IS_REMOVED},
		{0x2060, 0x206F, IS_REMOVED},	/* word joiner, invisible operators, isolates, deprecated */
		{0x3164, 0x3164, IS_REMOVED},	/* more fillers */
		{0xFE00, 0xFE0F, STAYS_AS_VARIANT},
		{0xFDD0, 0xFDEF, IS_REMOVED},	/* no characters */
		{0xFEFF, 0xFEFF, IS_REMOVED},
		{0xFFA0, 0xFFA0, IS_REMOVED},
		{0xFFF0, 0xFFFB, IS_REMOVED},	/* annotations, and what has none assigned */
		{0xFFFE, 0xFFFF, IS_REMOVED},
		{0x1BCA0, 0x1BCA3, IS_REMOVED}, /* controls of shorthand and of musical notes */
		{0x1D173, 0x1D17A, IS_REMOVED},
		{0x1FFFE, 0x1FFFF, IS_REMOVED},
		{0x2FFFE, 0x2FFFF, IS_REMOVED},
		{0x3FFFE, 0xE00FF, IS_REMOVED}, /* planes without letters, and tags */
		{0xE0100, 0xE01EF, STAYS_AS_VARIANT},	/* of Han characters */
		{0xE01F0, 0x10FFFF, IS_REMOVED},
	};

	for (int i = 0; i < lengthof(ranges); i++)
	{
		if (character >= ranges[i].first && character <= ranges[i].last)
			return ranges[i].fate;
	}
	return STAYS;
}

/* Whether a joiner or variation selector behind that character is part of how it is written. */
static bool
takes(pg_wchar character, CharacterFate fate)
{
	static const CharacterRange ranges[] = {
		{0x0600, 0x08FF, STAYS_AS_JOINER},	/* Arabic, Syriac, Thaana, N'Ko, Mandaic */
		{0x0900, 0x0DFF, STAYS_AS_JOINER},	/* scripts of India and Sri Lanka */
		{0x0F00, 0x109F, STAYS_AS_JOINER},	/* Tibetan, Myanmar */
		{0x1000, 0x109F, STAYS_AS_VARIANT},
		{0x1780, 0x18AF, STAYS_AS_JOINER},	/* Khmer, Mongolian */
		{0x1800, 0x18AF, STAYS_AS_VARIANT},
		{0x1B00, 0x1BFF, STAYS_AS_JOINER},	/* Balinese, Sundanese, Batak */
		{0xA8E0, 0xA9DF, STAYS_AS_JOINER},
		{0xFB50, 0xFDCF, STAYS_AS_JOINER},	/* forms of Arabic */
		{0xFE00, 0xFE0F, STAYS_AS_JOINER},	/* an emoji with its form */
		{0xFE70, 0xFEFE, STAYS_AS_JOINER},
		{0x11000, 0x11FFF, STAYS_AS_JOINER},
		{0x2190, 0x2BFF, STAYS_AS_JOINER},	/* symbols that are emoji */
		{0x2190, 0x2BFF, STAYS_AS_VARIANT},
		{0x2E80, 0x9FFF, STAYS_AS_VARIANT}, /* Han */
		{0xF900, 0xFAFF, STAYS_AS_VARIANT},
		{0x1F000, 0x1FAFF, STAYS_AS_JOINER},
		{0x1F000, 0x1FAFF, STAYS_AS_VARIANT},
		{0x20000, 0x3FFFD, STAYS_AS_VARIANT},
	};

	for (int i = 0; i < lengthof(ranges); i++)
	{
		if (fate == ranges[i].fate && character >= ranges[i].first && character <= ranges[i].last)
			return true;
	}
	return false;
}

/* Whether one of the characters that do not stay, or not everywhere, begins with that byte: a few others do too. */
static inline bool
begins_suspect(unsigned char byte)
{
	if (byte >= ' ' && byte < 0x7F)
		return false;
	return byte < ' ' || byte == 0x7F || byte == 0xC2 || byte == 0xCD || byte == 0xD8 ||
		(byte >= 0xE1 && byte <= 0xE3) || byte >= 0xEF;
}

/* What becomes of the character there, behind what is kept of the text that begins at start and ends at end. */
static inline CharacterFate
fate_at(const char *place, const char *start, const char *end)
{
	CharacterFate fate;

	if (!begins_suspect((unsigned char) *place))
		return STAYS;
	fate = fate_of(utf8_to_unicode((const unsigned char *) place));
	if (fate <= IS_REMOVED)
		return fate;
	if (end == start)
		return IS_REMOVED;
	do
		end--;
	while (end > start && ((unsigned char) *end & 0xC0) == 0x80);
	return takes(utf8_to_unicode((const unsigned char *) end), fate) ? STAYS : IS_REMOVED;
}

/* Whether each character of a text, which is valid UTF-8, stays. */
bool
text_is_clean(const char *value, int len)
{
	const char *end = value + len;
	const char *at = value;

	while (at < end && fate_at(at, value, at) == STAYS)
		at++;
	return at == end;
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

	while (from < end && fate_at(from, value, from) == STAYS)
		from++;
	if (from == end)
		return NULL;

	result = palloc(*len + 1);
	memcpy(result, value, from - value);
	to = result + (from - value);
	while (from < end)
	{
		CharacterFate fate = fate_at(from, result, to);
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
