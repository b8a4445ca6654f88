/*
 * object_row.c
 *	  Rows of terms, courses, classes, enrollments and demographics: which fields
 *	  each has, and what their values are.
 *
 * It must survive what servers send for them: a list as one text with commas, a
 * number for a text, a single reference for a list, an ID alone for a reference,
 * {} for none, a day with a time.  A value that cannot be read counts as absent,
 * and is noted in the row; a reference, day or word marks the row damaged, which
 * keeps what it was before.  It takes neither the row nor its page with it.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"

#include "oneroster/object_row.h"
#include "oneroster/row_date.h"
#include "oneroster/row_values.h"

/* A name and its length. */
#define NAME(name) name, sizeof(name) - 1
#define NO_NAME NULL, -1

static const ObjectField session_columns[] = {
	{NAME("title"), NO_NAME, "title", OBJECT_TEXT},
	{NAME("type"), NO_NAME, "type", OBJECT_WORD},
	{NAME("startDate"), NO_NAME, "start_date", OBJECT_DATE},
	{NAME("endDate"), NO_NAME, "end_date", OBJECT_DATE},
	{NAME("schoolYear"), NO_NAME, "school_year", OBJECT_YEAR},
	{NAME("parent"), NAME("parentSourcedId"), "parent_id", OBJECT_ID},
};

static const ObjectField course_columns[] = {
	{NAME("title"), NO_NAME, "title", OBJECT_TEXT},
	{NAME("courseCode"), NO_NAME, "course_code", OBJECT_TEXT},
	{NAME("grades"), NO_NAME, "grades", OBJECT_GRADES},
	{NAME("subjects"), NO_NAME, "subjects", OBJECT_TEXTS},
	{NAME("org"), NAME("orgSourcedId"), "org_id", OBJECT_ID},
	{NAME("schoolYear"), NAME("schoolYearSourcedId"), "school_year_id", OBJECT_ID},
};

static const ObjectField class_columns[] = {
	{NAME("title"), NO_NAME, "title", OBJECT_TEXT},
	{NAME("classCode"), NO_NAME, "class_code", OBJECT_TEXT},
	{NAME("classType"), NO_NAME, "class_type", OBJECT_WORD},
	{NAME("location"), NO_NAME, "location", OBJECT_TEXT},
	{NAME("grades"), NO_NAME, "grades", OBJECT_GRADES},
	{NAME("subjects"), NO_NAME, "subjects", OBJECT_TEXTS},
	{NAME("periods"), NO_NAME, "periods", OBJECT_TEXTS},
	{NAME("course"), NAME("courseSourcedId"), "course_id", OBJECT_ID},
	{NAME("school"), NAME("schoolSourcedId"), "school_id", OBJECT_ID},
	{NAME("terms"), NAME("termSourcedIds"), "term_ids", OBJECT_IDS},
};
#define CLASS_SCHOOL 8

static const ObjectField enrollment_columns[] = {
	{NAME("user"), NAME("userSourcedId"), "user_id", OBJECT_ID},
	{NAME("class"), NAME("classSourcedId"), "class_id", OBJECT_ID},
	{NAME("school"), NAME("schoolSourcedId"), "school_id", OBJECT_ID},
	{NAME("role"), NO_NAME, "role", OBJECT_WORD},
	{NAME("primary"), NO_NAME, "is_primary", OBJECT_FLAG},
	{NAME("beginDate"), NO_NAME, "begin_date", OBJECT_DATE},
	{NAME("endDate"), NO_NAME, "end_date", OBJECT_DATE},
};
#define ENROLLMENT_SCHOOL 2

static const ObjectField demographics_columns[] = {
	{NAME("birthDate"), NAME("birthdate"), "birth_date", OBJECT_DATE},
};

#define COMMON_FIELDS "sourcedId,status,dateLastModified,"
static const ObjectKind kinds[] = {
	[PAGE_SESSIONS] = {"academicSessions", "staged_academic_sessions",
		COMMON_FIELDS "title,type,startDate,endDate,schoolYear,parent",
	session_columns, lengthof(session_columns), -1},
	[PAGE_COURSES] = {"courses", "staged_courses",
		COMMON_FIELDS "title,courseCode,grades,subjects,org,schoolYear",
	course_columns, lengthof(course_columns), -1},
	[PAGE_CLASSES] = {"classes", "staged_classes",
		COMMON_FIELDS "title,classCode,classType,location,grades,subjects,periods,course,school,terms",
	class_columns, lengthof(class_columns), CLASS_SCHOOL},
	[PAGE_ENROLLMENTS] = {"enrollments", "staged_enrollments",
		COMMON_FIELDS "user,class,school,role,primary,beginDate,endDate",
	enrollment_columns, lengthof(enrollment_columns), ENROLLMENT_SCHOOL},
	[PAGE_DEMOGRAPHICS] = {"demographics", "staged_demographics",
		COMMON_FIELDS "birthDate",
	demographics_columns, lengthof(demographics_columns), -1},
};

StaticAssertDecl(lengthof(class_columns) <= OBJECT_COLUMNS_MAX, "a row has room for each column");

/* What rows of the kind are, static; NULL for users and orgs. */
const ObjectKind *
object_kind(PageKind kind)
{
	return kind < lengthof(kinds) && kinds[kind].envelope != NULL ? &kinds[kind] : NULL;
}

/* What a collection of the family lists. */
PageKind
kind_of_family(const char *family)
{
	static const struct
	{
		const char *family;
		PageKind	kind;
	}			families[] = {
		{"session", PAGE_SESSIONS},
		{"course", PAGE_COURSES},
		{"class", PAGE_CLASSES},
		{"enrollment", PAGE_ENROLLMENTS},
		{"demographics", PAGE_DEMOGRAPHICS},
	};

	for (int i = 0; i < lengthof(families); i++)
	{
		if (strcmp(families[i].family, family) == 0)
			return families[i].kind;
	}
	return PAGE_USERS;
}

/* Rows are of keys, so that the length, known beforehand, tells most of them apart. */
static inline bool
key_is(const char *key, int len, const char *name, int name_len)
{
	return len == name_len && memcmp(key, name, len) == 0;
}

/*
 * Whether a field of the form says which users, classes, terms, days or role a
 * row is of: without it the row is not what it was.
 */
static bool
says_what(ObjectForm form)
{
	return form == OBJECT_ID || form == OBJECT_IDS || form == OBJECT_DATE || form == OBJECT_WORD;
}

/* The values that follow are those of this key: of a field that all objects have, of a column, or of none. */
void
object_begin_field(RowMaker *maker, const char *key, int len)
{
	const ObjectKind *object = object_kind(maker->kind);

	maker->field = key_is(key, len, NAME("sourcedId")) ? ROW_SOURCED_ID :
		key_is(key, len, NAME("status")) ? ROW_STATUS :
		key_is(key, len, NAME("dateLastModified")) ? ROW_DATE_LAST_MODIFIED : FIELD_NONE;
	for (int i = 0; i < object->ncolumns && maker->field == FIELD_NONE; i++)
	{
		const ObjectField *column = &object->columns[i];

		if (key_is(key, len, column->name, column->name_len) ||
			key_is(key, len, column->csv_name, column->csv_name_len))
		{
			maker->field = FIELD_OBJECT + i;
			maker->object_field = column->name;
			maker->object_says_what = says_what(column->form);
		}
	}
}

/*
 * The status of an object is read, in lower case.  One that is inactive is no
 * more the school's than one that is to be deleted, and is staged as such; what
 * any other word says is not known, so the row is damaged: it is there, and stays
 * as it was.
 */
void
object_end_status(RowMaker *maker)
{
	text	   *status = maker->row.texts[ROW_STATUS];
	const char *word;
	int			len;

	if (status == NULL)
		return;
	word = VARDATA(status);
	len = VARSIZE(status) - VARHDRSZ;
	if (key_is(word, len, NAME("inactive")))
		row_set_text(maker, &maker->row.texts[ROW_STATUS],
					 row_text(maker, "tobedeleted", strlen("tobedeleted"), false));
	else if (!key_is(word, len, NAME("active")) && !key_is(word, len, NAME("tobedeleted")))
		row_spoil_field(maker);
}

static ObjectForm
current_form(const RowMaker *maker)
{
	return object_kind(maker->kind)->columns[maker->field - FIELD_OBJECT].form;
}

/* Whether the current field, FIELD_OBJECT or beyond, or an element of its list, may be an object with a sourcedId. */
bool
object_field_is_reference(const RowMaker *maker)
{
	ObjectForm	form = current_form(maker);

	return form == OBJECT_ID || form == OBJECT_IDS;
}

/* Whether a value is what the place has, if it has one; the place has none from now on if not. */
static bool
is_only_value(RowMaker *maker, ObjectValue *place, bool is_same)
{
	if (is_same && !place->is_ambiguous)
		return true;
	row_spoil_field(maker);
	row_set_text(maker, &place->text, NULL);
	place->has_number = false;
	place->is_ambiguous = true;
	return false;
}

static void
set_only_text(RowMaker *maker, ObjectValue *place, text *value)
{
	if (value != NULL && is_only_value(maker, place, place->text == NULL ||
									   (VARSIZE(value) == VARSIZE(place->text) &&
										memcmp(value, place->text, VARSIZE(value)) == 0)))
		row_set_text(maker, &place->text, value);
}

/*
 * A text, or several of them with commas between.  One of a list is one, whatever
 * commas it has, unless it is a grade or an id, which have none; so is the id of
 * a reference, and what stands in parentheses, as the days of "1(A,C)".
 */
static void
add_texts(RowMaker *maker, RowList *list, const char *value, int len, ObjectForm form)
{
	bool		several = (form == OBJECT_IDS ? !maker->in_reference : !maker->within_field || form == OBJECT_GRADES);
	const char *end = value + len;
	int			open = 0;

	for (const char *next = value; next < end; next++)
	{
		if (*next == '(')
			open++;
		else if (*next == ')')
			open = Max(open - 1, 0);
		else if (*next == ',' && several && (open == 0 || memchr(next, ')', end - next) == NULL))
		{
			row_add_to_list(maker, list, row_text(maker, value, next - value, form == OBJECT_IDS));
			value = next + 1;
		}
	}
	row_add_to_list(maker, list, row_text(maker, value, end - value, form == OBJECT_IDS));
}

/*
 * A day, of which a time or an offset behind it is left out: it is that of the
 * place that the server is in.  "20260820" is a day too.
 */
static bool
read_day(const char *value, int len, DateADT * day)
{
	char		utc[ROW_DATE_LEN + 1];
	char		basic[10 + 1];
	int			date_len;

	row_trim(&value, &len);
	if (len == 8 && strspn(value, "0123456789") >= 8)
	{
		snprintf(basic, sizeof(basic), "%.4s-%.2s-%.2s", value, value + 4, value + 6);
		value = basic;
		len = 10;
	}
	date_len = Min(len, 10);
	if (!row_date_to_utc(value, date_len, utc) || (len > date_len && strchr("Tt Zz+-", value[date_len]) == NULL))
		return false;
	*day = date2j(atoi(utc), atoi(utc + 5), atoi(utc + 8)) - POSTGRES_EPOCH_JDATE;
	return true;
}

/*
 * Whether a text begins like the days that databases have for none: of the year 0
 * or 1, and the first day of 1900 or of the calendars of spreadsheets.
 */
static bool
is_no_day(const char *value, int len)
{
	static const char *const none[] = {"0000-", "0001-", "1899-12-3", "1900-01-01"};

	row_trim(&value, &len);
	for (int i = 0; i < lengthof(none); i++)
	{
		if (len >= 10 && strncmp(value, none[i], strlen(none[i])) == 0)
			return true;
	}
	return false;
}

/* Takes a dash or slash between two years, with spaces around it, from the text; its length, 0 where there is none. */
static int
year_separator_len(const char *value, int len)
{
	static const char *const dashes[] = {"-", "/", "\xE2\x80\x93"};
	int			at = 0;

	while (at < len && value[at] == ' ')
		at++;
	for (int i = 0; i < lengthof(dashes); i++)
	{
		int			dash_len = strlen(dashes[i]);

		if (len - at >= dash_len && memcmp(value + at, dashes[i], dash_len) == 0)
		{
			at += dash_len;
			while (at < len && value[at] == ' ')
				at++;
			return at;
		}
	}
	return 0;
}

/* A year, or the second one of "2026-2027" or "2026/27". */
static bool
read_year(const char *value, int len, int32 *year)
{
	int			years[2] = {0, 0};
	int			digits[2] = {0, 0};
	int			nth = 0;

	row_trim(&value, &len);
	for (int i = 0; i < len; i++)
	{
		int			separator_len = (nth == 0 ? year_separator_len(value + i, len - i) : 0);

		if (value[i] >= '0' && value[i] <= '9')
		{
			if (++digits[nth] > 4)
				return false;
			years[nth] = years[nth] * 10 + (value[i] - '0');
		}
		else if (separator_len > 0)
		{
			nth = 1;
			i += separator_len - 1;
		}
		else
			return false;
	}
	if (digits[0] != 4 || (nth == 1 && digits[1] != 2 && digits[1] != 4))
		return false;
	*year = nth == 0 ? years[0] : digits[1] == 4 ? years[1] : years[0] / 100 * 100 + years[1];
	return true;
}

/*
 * A scalar as the value of the current field, FIELD_OBJECT or beyond, or as an
 * element of its list.  What has one value may come as a list of that.
 */
void
object_set_field(RowMaker *maker, const char *value, int len, JsonTokenType type)
{
	ObjectValue *place = &maker->row.values[maker->field - FIELD_OBJECT];
	ObjectForm	form = current_form(maker);
	bool		is_text = (type == JSON_TOKEN_STRING || type == JSON_TOKEN_NUMBER);
	bool		is_read = false;
	int32		number = 0;
	bool		flag;
	text	   *word;

	if (type == JSON_TOKEN_NULL)
		return;
	if (!is_text && form != OBJECT_FLAG)
	{
		row_spoil_field(maker);
		return;
	}
	switch (form)
	{
		case OBJECT_TEXT:
		case OBJECT_WORD:
		case OBJECT_ID:
			word = row_text(maker, value, len, form == OBJECT_ID);
			if (form == OBJECT_WORD)
				row_lower_case(word);
			set_only_text(maker, place, word);
			return;
		case OBJECT_TEXTS:
		case OBJECT_GRADES:
		case OBJECT_IDS:
			add_texts(maker, &place->list, value, len, form);
			return;
		case OBJECT_DATE:
			if (is_no_day(value, len))
				return;
			is_read = read_day(value, len, &number);
			break;
		case OBJECT_YEAR:
			is_read = read_year(value, len, &number);
			break;
		case OBJECT_FLAG:
			row_trim(&value, &len);
			is_read = parse_bool_with_len(value, len, &flag);
			number = is_read && flag;
			break;
	}
	row_trim(&value, &len);
	if (len == 0)
		return;
	if (!is_read)
		row_spoil_field(maker);
	else if (is_only_value(maker, place, !place->has_number || place->number == number))
	{
		place->has_number = true;
		place->number = number;
	}
}

/* The row is whole. */
void
object_end_row(RowMaker *maker)
{
	const ObjectKind *object = object_kind(maker->kind);

	for (int i = 0; i < object->ncolumns; i++)
		row_remove_repeats(&maker->row.values[i].list);
}
