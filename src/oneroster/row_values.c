/*
 * row_values.c
 *	  Values of a row, as the stage is to hold them: cleaned (text.c), trimmed, in
 *	  NFC, empty as absent, what cannot be read left out and, where it says who
 *	  someone is, the row marked damaged.
 */
#include "postgres.h"

#include "common/unicode_norm.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/text.h"
#include "oneroster/row_values.h"

#define FIELD_MAX_BYTES 1024

/* Memory that lives until the next row. */
void *
row_alloc(RowMaker *maker, Size size)
{
	char	   *block = (char *) maker->arena + maker->arena_used;

	if (MAXALIGN(size) > sizeof(maker->arena) - maker->arena_used)
		return MemoryContextAlloc(maker->values, size);
	maker->arena_used += MAXALIGN(size);
	return block;
}

static bool
is_in_arena(const RowMaker *maker, const void *block)
{
	return (const int64 *) block >= maker->arena && (const int64 *) block < maker->arena + lengthof(maker->arena);
}

/* The block, NULL or of that size, with room for more; where it was it is no longer. */
void *
row_enlarge(RowMaker *maker, void *block, Size size, Size new_size)
{
	void	   *larger;

	if (block != NULL && !is_in_arena(maker, block))
		return repalloc(block, new_size);
	larger = row_alloc(maker, new_size);
	if (block != NULL)
		memcpy(larger, block, size);
	return larger;
}

/* Puts a value in the place of another one. */
void
row_set_text(RowMaker *maker, text **place, text *value)
{
	if (*place != NULL && !is_in_arena(maker, *place))
		pfree(*place);
	*place = value;
}

/* The current field as OneRoster calls it, static; NULL for one that cannot spoil a row. */
static const char *
field_name(const RowMaker *maker)
{
	switch (maker->field)
	{
		case ROW_SOURCED_ID:
			return "sourcedId";
		case ROW_STATUS:
			return "status";
		case ROW_IDENTIFIER:
			return "identifier";
		case ROW_ROLE:
			return "role";
		case ROW_GIVEN_NAME:
			return "givenName";
		case ROW_FAMILY_NAME:
			return "familyName";
		case FIELD_ENABLED:
			return "enabledUser";
		case FIELD_ORGS:
		case FIELD_ORG_IDS:
			return "orgs";
		case FIELD_ROLES:
		case FIELD_ROLE_NAME:
		case FIELD_ROLE_TYPE:
		case FIELD_ROLE_ORG:
		case FIELD_ROLE_END:
			return "roles";
	}
	return NULL;
}

/* The text "", which is not the same as none; of the row. */
text *
row_empty_text(RowMaker *maker)
{
	text	   *empty = row_alloc(maker, VARHDRSZ);

	SET_VARSIZE(empty, VARHDRSZ);
	return empty;
}

/*
 * Whether a person can do without the current field where it cannot be read: it
 * says neither who the row is nor what becomes of it, so it passes for absent.
 */
static bool
is_dispensable(const RowMaker *maker)
{
	switch (maker->field)
	{
		case ROW_MIDDLE_NAME:
		case ROW_PREFERRED_NAME:
		case ROW_USERNAME:
		case ROW_EMAIL:
		case ROW_PHONE:
		case ROW_SMS:
		case ROW_DATE_LAST_MODIFIED:
		case FIELD_GRADES:
			return maker->kind == PAGE_USERS;
	}
	return false;
}

/* ASCII's letters of the value, which may be NULL, in lower case. */
void
row_lower_case(text *value)
{
	if (value == NULL)
		return;
	for (char *c = VARDATA(value); c < VARDATA(value) + VARSIZE(value) - VARHDRSZ; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
}

/* Without white space as people paste it at either end: ASCII's, and U+00A0. */
void
row_trim(const char **value, int *len)
{
	const char *start = *value;
	const char *end = start + *len;

	for (;;)
	{
		if (start < end && (*start == ' ' || (*start >= '\t' && *start <= '\r')))
			start++;
		else if (end - start >= 2 && start[0] == '\xC2' && start[1] == '\xA0')
			start += 2;
		else
			break;
	}
	for (;;)
	{
		if (end > start && (end[-1] == ' ' || (end[-1] >= '\t' && end[-1] <= '\r')))
			end--;
		else if (end - start >= 2 && end[-2] == '\xC2' && end[-1] == '\xA0')
			end -= 2;
		else
			break;
	}
	*value = start;
	*len = end - start;
}

/* Whether the value is of ASCII's visible characters and spaces alone, which are clean and in NFC as they are. */
static bool
is_plain(const char *value, int len)
{
	const uint64 each_byte = UINT64CONST(0x0101010101010101);
	uint64		odd = 0;

	for (; len >= 8; value += 8, len -= 8)
	{
		uint64		bytes;

		memcpy(&bytes, value, 8);
		/* the high bit of a byte that has it, is below a space, or is DEL */
		odd |= bytes | (bytes - each_byte * ' ') | (bytes + each_byte);
	}
	for (; len > 0; value++, len--)
		odd |= ((unsigned char) *value < ' ' || (unsigned char) *value >= 0x7F) ? each_byte * 0x80 : 0;
	return (odd & each_byte * 0x80) == 0;
}

/* The value in NFC, palloc'd, or NULL where it is so already. */
static char *
normalize(const char *value, int len)
{
	pg_wchar   *characters;
	pg_wchar   *composed;
	char	   *result;
	char	   *end;

	characters = palloc((len + 1) * sizeof(pg_wchar));
	pg_encoding_mb2wchar_with_len(PG_UTF8, value, characters, len);
	if (unicode_is_normalized_quickcheck(UNICODE_NFC, characters) == UNICODE_NORM_QC_YES)
	{
		pfree(characters);
		return NULL;
	}
	composed = unicode_normalize(UNICODE_NFC, characters);
	pfree(characters);

	len = 0;
	while (composed[len] != 0)
		len++;
	result = end = palloc(len * 4 + 1);
	for (int i = 0; i < len; i++)
	{
		unicode_to_utf8(composed[i], (unsigned char *) end);
		end += pg_utf_mblen((unsigned char *) end);
	}
	*end = '\0';
	pfree(composed);
	return result;
}

/* NULL is not added; too many spoil the field. */
void
row_add_to_list(RowMaker *maker, RowList *list, text *value)
{
	if (value == NULL)
		return;
	if (list->count >= LIST_MAX)
	{
		row_spoil_field(maker);
		return;
	}
	if (list->count == list->size)
	{
		list->size = Max(4, list->size * 2);
		list->ids = row_enlarge(maker, list->ids, list->count * sizeof(Datum), list->size * sizeof(Datum));
	}
	list->ids[list->count++] = PointerGetDatum(value);
}

/* Keeps each value of the list once, where it came first. */
void
row_remove_repeats(RowList *list)
{
	int			count = 0;

	for (int i = 0; i < list->count; i++)
	{
		const text *value = (text *) DatumGetPointer(list->ids[i]);
		bool		repeats = false;

		for (int j = 0; j < count && !repeats; j++)
		{
			const text *earlier = (text *) DatumGetPointer(list->ids[j]);

			repeats = (VARSIZE(value) == VARSIZE(earlier) && memcmp(value, earlier, VARSIZE(value)) == 0);
		}
		if (!repeats)
			list->ids[count++] = list->ids[i];
	}
	list->count = count;
}

/* How long the number is without a fraction of zeros: 9.0 is 9, as servers write it that keep numbers as floats. */
int
row_whole_number_len(const char *value, int len)
{
	int			end = len;

	while (end > 1 && value[end - 1] == '0')
		end--;
	return end > 1 && end < len && value[end - 1] == '.' ? end - 1 : len;
}

/*
 * The current field cannot be used.  Where it matters the row is there, and
 * damaged.  Of agents that cannot be read the row has some all the same (see
 * row_end_reference).
 */
void
row_spoil_field(RowMaker *maker)
{
	RowList    *agents = &maker->row.agents;

	if (maker->field == FIELD_NONE || maker->field == FIELD_METADATA)
		return;
	if (maker->field >= FIELD_OBJECT)
	{
		maker->row.damaged |= maker->object_says_what;
		if (maker->row.damaged_field == NULL)
			maker->row.damaged_field = maker->object_field;
		return;
	}
	if (is_dispensable(maker))
	{
		if (maker->field < ROW_TEXTS)
			row_set_text(maker, &maker->row.texts[maker->field], NULL);
		return;
	}
	if (maker->field == FIELD_AGENTS || maker->field == FIELD_AGENT_IDS)
	{
		if (agents->count < LIST_MAX)
			row_add_to_list(maker, agents, row_empty_text(maker));
		return;
	}
	maker->row.damaged = true;
	if (maker->row.damaged_field == NULL)
		maker->row.damaged_field = field_name(maker);
	if (maker->field == ROW_ROLE || maker->field == FIELD_ROLES || maker->field == FIELD_ROLE_NAME)
		maker->row.role_unclear = true;
	if (maker->field == FIELD_ORGS || maker->field == FIELD_ORG_IDS || maker->field == FIELD_ROLES ||
		maker->field == FIELD_ROLE_ORG)
		maker->row.orgs_unclear = true;
}

/*
 * The value as a text of the row, NULL where it is empty or too long, which
 * spoils the field.  That characters were taken out of it does not.  An id gets
 * no spaces and is not composed, so that it equals itself wherever it is named.
 */
text *
row_text(RowMaker *maker, const char *value, int len, bool is_id)
{
	bool		plain = is_plain(value, len);
	char	   *cleaned = plain ? NULL : text_cleaned(value, &len, is_id);
	char	   *composed = NULL;
	text	   *result = NULL;

	if (cleaned != NULL)
		value = cleaned;
	row_trim(&value, &len);
	if (len > FIELD_MAX_BYTES)
		row_spoil_field(maker);
	else if (len > 0)
	{
		if (!plain && !is_id && (composed = normalize(value, len)) != NULL)
		{
			value = composed;
			len = strlen(composed);
		}
		result = row_alloc(maker, VARHDRSZ + len);
		SET_VARSIZE(result, VARHDRSZ + len);
		memcpy(VARDATA(result), value, len);
	}
	if (composed != NULL)
		pfree(composed);
	if (cleaned != NULL)
		pfree(cleaned);
	return result;
}

bool
row_has_replacement(const text *value)
{
	const char *bytes = value == NULL ? "" : VARDATA(value);
	int			len = value == NULL ? 0 : VARSIZE(value) - VARHDRSZ;

	for (int i = 0; i + 2 < len; i++)
	{
		if (memcmp(bytes + i, "\xEF\xBF\xBD", 3) == 0)
			return true;
	}
	return false;
}
