/*
 * name.c
 *	  What of a name is compared: clean_name(text), its letters and digits in lower
 *	  case after NFKD, so that neither case, diacritics, spaces nor punctuation
 *	  tell two names apart.
 *
 * Depends on no locale, so that a person is the same one in every database.
 * Must survive any text in UTF-8.
 *
 * Hidden names: of people whom the school does not roster a name is only evidence
 * for who a row is, so the stage holds it in a form that can be compared and not
 * read.  Each letter becomes a code point that stands for the name up to there,
 * by SipHash under a key that the process makes for each fetch, forgets with the
 * run, and never stores.  So what begins a name still begins it, and the SQL of the
 * plan compares hidden names as it compares others.  While names are hidden,
 * clean_name() hides what it returns, so that both sides of a comparison are in one
 * form.
 *
 * Two names that differ come to be one by chance only if they differ in their last
 * letter alone, and then once in 786,408 times; one more letter, and it is never.
 * Hidden names do tell which of them are equal or begin alike, and how long they
 * are: they keep a reader from reading, not one who knows all names from
 * recognizing some.
 */
#include "postgres.h"

#include "common/unicode_norm.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/letters.h"
#include "base/name.h"

ROSTER_FUNCTION(roster_clean_name);
ROSTER_FUNCTION(roster_plain_name);
ROSTER_FUNCTION(roster_hide_names);
ROSTER_FUNCTION(roster_shown_name);

/*
 * Hidden letters are in the planes that have no letters and will have none: 4 to
 * 13, not assigned, and 15 and 16, private use.  Nothing that a SIS sends has
 * them (text.c).
 */
#define HIDDEN_FIRST 0x40000
#define HIDDEN_PLANES 12
#define PLANE_LETTERS 65534		/* without its two noncharacters */

static bool names_are_hidden = false;
static uint64 hiding_key[2];

/* The letter or digit in lower case, or 0 for any other character. */
static pg_wchar
letter_of(pg_wchar character)
{
	int			low = 0;
	int			high = lengthof(letter_ranges) - 1;

	if (character < 0x80)
	{
		if (character >= 'A' && character <= 'Z')
			return character + ('a' - 'A');
		return (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9') ? character : 0;
	}
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (letter_ranges[middle].last < character)
			low = middle + 1;
		else
			high = middle;
	}
	if (character < letter_ranges[low].first || character > letter_ranges[low].last)
		return 0;

	low = 0;
	high = lengthof(case_ranges) - 1;
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (case_ranges[middle].last < character)
			low = middle + 1;
		else
			high = middle;
	}
	if (character >= case_ranges[low].first && character <= case_ranges[low].last &&
		(character - case_ranges[low].first) % case_ranges[low].step == 0)
		return character + case_ranges[low].added;
	return character;
}

/* The name's letters and digits, to the end of what is there. */
static void
append_cleaned(StringInfo cleaned, const char *value, int len)
{
	bool		ascii = true;

	for (int i = 0; i < len && ascii; i++)
		ascii = ((unsigned char) value[i] < 0x80);

	if (ascii)
	{
		for (int i = 0; i < len; i++)
		{
			pg_wchar	letter = letter_of((unsigned char) value[i]);

			if (letter != 0)
				appendStringInfoChar(cleaned, (char) letter);
		}
	}
	else
	{
		pg_wchar   *characters = palloc((len + 1) * sizeof(pg_wchar));
		pg_wchar   *decomposed;

		pg_encoding_mb2wchar_with_len(PG_UTF8, value, characters, len);
		decomposed = unicode_normalize(UNICODE_NFKD, characters);
		for (pg_wchar *at = decomposed; *at != 0; at++)
		{
			pg_wchar	letter = letter_of(*at);
			unsigned char encoded[MAX_MULTIBYTE_CHAR_LEN];

			if (letter != 0)
			{
				unicode_to_utf8(letter, encoded);
				appendBinaryStringInfo(cleaned, (char *) encoded, pg_utf_mblen(encoded));
			}
		}
		pfree(decomposed);
		pfree(characters);
	}
}

static inline uint64
rotated(uint64 word, int bits)
{
	return (word << bits) | (word >> (64 - bits));
}

static inline void
sip_round(uint64 v[4])
{
	v[0] += v[1];
	v[1] = rotated(v[1], 13) ^ v[0];
	v[0] = rotated(v[0], 32);
	v[2] += v[3];
	v[3] = rotated(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotated(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotated(v[1], 17) ^ v[2];
	v[2] = rotated(v[2], 32);
}

/* SipHash-2-4 of two words, under the key. */
static uint64
sip_hash(uint64 first, uint64 second)
{
	uint64		words[] = {first, second, UINT64CONST(16) << 56};
	uint64		v[] = {
		hiding_key[0] ^ UINT64CONST(0x736f6d6570736575), hiding_key[1] ^ UINT64CONST(0x646f72616e646f6d),
		hiding_key[0] ^ UINT64CONST(0x6c7967656e657261), hiding_key[1] ^ UINT64CONST(0x7465646279746573)
	};

	for (int i = 0; i < lengthof(words); i++)
	{
		v[3] ^= words[i];
		sip_round(v);
		sip_round(v);
		v[0] ^= words[i];
	}
	v[2] ^= 0xFF;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* A cleaned name, hidden.  palloc'd. */
static text *
hide(const char *cleaned, int len)
{
	const char *end = cleaned + len;
	text	   *result = palloc(VARHDRSZ + len * 4);
	char	   *to = VARDATA(result);
	uint64		so_far = 0;

	while (cleaned < end)
	{
		uint64		place;
		pg_wchar	plane;

		so_far = sip_hash(so_far, utf8_to_unicode((const unsigned char *) cleaned));
		place = so_far % (HIDDEN_PLANES * PLANE_LETTERS);
		plane = place / PLANE_LETTERS + (HIDDEN_FIRST >> 16);
		if (plane >= 14)
			plane++;			/* the one of tags */
		unicode_to_utf8((plane << 16) | (pg_wchar) (place % PLANE_LETTERS), (unsigned char *) to);
		to += 4;
		cleaned += pg_utf_mblen((const unsigned char *) cleaned);
	}
	SET_VARSIZE(result, to - (char *) result);
	return result;
}

/* Whether a name is hidden: each of its characters is one of HIDDEN_PLANES. */
static bool
is_hidden(const char *value, int len)
{
	for (int i = 0; i < len; i += 4)
	{
		if ((unsigned char) value[i] < 0xF1)	/* below U+40000 */
			return false;
	}
	return len > 0;
}

/*
 * From now on, and until the next call, the process hides names under a new key,
 * or does not.  Names that were hidden before can no longer be compared.
 */
void
names_hide(bool are_hidden)
{
	names_are_hidden = are_hidden;
	explicit_bzero(hiding_key, sizeof(hiding_key));
	if (are_hidden && !pg_strong_random(hiding_key, sizeof(hiding_key)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not make a random key for names")));
}

/* hide_names(boolean): the same for SQL. */
Datum
roster_hide_names(PG_FUNCTION_ARGS)
{
	names_hide(PG_GETARG_BOOL(0));
	PG_RETURN_VOID();
}

/* The name cleaned, and hidden if so: NULL where no letter is left.  palloc'd. */
static text *
cleaned_name(const char *value, int len, bool hidden)
{
	StringInfoData cleaned;
	text	   *result = NULL;

	initStringInfo(&cleaned);
	append_cleaned(&cleaned, value, len);
	if (cleaned.len > 0)
		result = hidden ? hide(cleaned.data, cleaned.len) : cstring_to_text_with_len(cleaned.data, cleaned.len);
	pfree(cleaned.data);
	return result;
}

/* What of the name is compared, hidden where the process hides names: NULL where no letter is left.  palloc'd. */
text *
name_compared(const char *value, int len)
{
	if (names_are_hidden && is_hidden(value, len))
		return cstring_to_text_with_len(value, len);
	return cleaned_name(value, len, names_are_hidden);
}

/* clean_name(text) -> text: NULL where no letter or digit is left. */
Datum
roster_clean_name(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	text	   *result = name_compared(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));

	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}

/* plain_name(text) -> text: the same, never hidden. */
Datum
roster_plain_name(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	text	   *result = cleaned_name(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), false);

	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}

/* shown_name(text) -> text: the name, NULL where it is hidden. */
Datum
roster_shown_name(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);

	if (is_hidden(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(name);
}
