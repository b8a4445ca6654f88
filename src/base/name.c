/*
 * name.c
 *	  What of a name is compared: clean_name(text), its letters and digits in lower
 *	  case after NFKD, so that neither case, diacritics, spaces nor punctuation
 *	  tell two names apart.
 *
 * Depends on no locale, so that a person is the same one in every database.
 * Must survive any text in UTF-8.
 */
#include "postgres.h"

#include "common/unicode_norm.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/letters.h"

ROSTER_FUNCTION(roster_clean_name);

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

/* clean_name(text) -> text: NULL where no letter or digit is left. */
Datum
roster_clean_name(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	const char *value = VARDATA_ANY(name);
	int			len = VARSIZE_ANY_EXHDR(name);
	StringInfoData cleaned;
	bool		ascii = true;

	for (int i = 0; i < len && ascii; i++)
		ascii = ((unsigned char) value[i] < 0x80);

	initStringInfo(&cleaned);
	if (ascii)
	{
		for (int i = 0; i < len; i++)
		{
			pg_wchar	letter = letter_of((unsigned char) value[i]);

			if (letter != 0)
				appendStringInfoChar(&cleaned, (char) letter);
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
				appendBinaryStringInfo(&cleaned, (char *) encoded, pg_utf_mblen(encoded));
			}
		}
		pfree(decomposed);
		pfree(characters);
	}

	if (cleaned.len == 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(cleaned.data, cleaned.len));
}
