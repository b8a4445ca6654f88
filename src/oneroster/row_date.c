/*
 * row_date.c
 *	  A date as servers write it, in the one form in which dates sort as text.
 *
 * ISO 8601 with any offset, with or without seconds and fractions, a space or
 * a T before the time, or a day alone.  What names no offset is taken for UTC.
 */
#include "postgres.h"

#include "oneroster/row_date.h"

typedef struct DateText
{
	const char *next;
	const char *end;
} DateText;

/* So many digits as a number no greater than most; false where it is something else. */
static bool
take_number(DateText *date, int digits, int most, int *number)
{
	if (date->end - date->next < digits)
		return false;
	*number = 0;
	for (int i = 0; i < digits; i++, date->next++)
	{
		if (*date->next < '0' || *date->next > '9')
			return false;
		*number = *number * 10 + (*date->next - '0');
	}
	return *number <= most;
}

static bool
take_character(DateText *date, const char *any_of)
{
	if (date->next == date->end || *date->next == '\0' || strchr(any_of, *date->next) == NULL)
		return false;
	date->next++;
	return true;
}

/* ":SS" and ".fff", both may be missing; digits after the third are left out. */
static bool
take_seconds(DateText *date, int *seconds, int *milliseconds)
{
	*seconds = *milliseconds = 0;
	if (!take_character(date, ":"))
		return true;
	if (!take_number(date, 2, 60, seconds))
		return false;
	*seconds = Min(*seconds, 59);	/* a leap second */
	if (!take_character(date, ".,"))
		return true;
	if (date->next == date->end || *date->next < '0' || *date->next > '9')
		return false;
	for (int unit = 100; date->next < date->end && *date->next >= '0' && *date->next <= '9'; unit /= 10, date->next++)
		*milliseconds += unit * (*date->next - '0');
	return true;
}

/* "Z", an offset in minutes east of UTC, or nothing. */
static bool
take_offset(DateText *date, int *offset)
{
	int			hours;
	int			minutes = 0;
	bool		west;

	*offset = 0;
	if (take_character(date, "Zz") || date->next == date->end)
		return true;
	west = (*date->next == '-');
	if (!take_character(date, "+-") || !take_number(date, 2, 15, &hours))
		return false;
	if (date->next < date->end)
	{
		take_character(date, ":");
		if (!take_number(date, 2, 59, &minutes))
			return false;
	}
	*offset = (hours * 60 + minutes) * (west ? -1 : 1);
	return true;
}

/* Writes a number of so many digits, and the character behind it; returns where the next one goes. */
static char *
put_number(char *to, int number, int digits, char behind)
{
	for (int i = digits - 1; i >= 0; i--, number /= 10)
		to[i] = '0' + number % 10;
	to[digits] = behind;
	return to + digits + 1;
}

static int
days_of_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

/*
 * Writes the time in UTC, ROW_DATE_LEN characters and a NUL; false where the
 * value, which is trimmed, is no date, or none of the years 1 to 9999.
 */
bool
row_date_to_utc(const char *value, int len, char *result)
{
	DateText	date = {value, value + len};
	int			year;
	int			month;
	int			day;
	int			hour = 0;
	int			minute = 0;
	int			second = 0;
	int			millisecond = 0;
	int			offset = 0;

	if (!take_number(&date, 4, 9999, &year) || !take_character(&date, "-") ||
		!take_number(&date, 2, 12, &month) || !take_character(&date, "-") ||
		!take_number(&date, 2, 31, &day))
		return false;
	if (year < 1 || month < 1 || day < 1 || day > days_of_month(year, month))
		return false;
	if (date.next < date.end &&
		(!take_character(&date, "Tt ") || !take_number(&date, 2, 23, &hour) ||
		 !take_character(&date, ":") || !take_number(&date, 2, 59, &minute) ||
		 !take_seconds(&date, &second, &millisecond) || !take_offset(&date, &offset)))
		return false;
	if (date.next != date.end)
		return false;

	minute += hour * 60 - offset;
	if (minute < 0)
	{
		minute += 24 * 60;
		if (--day < 1)
		{
			if (--month < 1)
			{
				month = 12;
				year--;
			}
			day = year < 1 ? 31 : days_of_month(year, month);
		}
	}
	else if (minute >= 24 * 60)
	{
		minute -= 24 * 60;
		if (++day > days_of_month(year, month))
		{
			day = 1;
			if (++month > 12)
			{
				month = 1;
				year++;
			}
		}
	}
	if (year < 1 || year > 9999)
		return false;
	result = put_number(result, year, 4, '-');
	result = put_number(result, month, 2, '-');
	result = put_number(result, day, 2, 'T');
	result = put_number(result, minute / 60, 2, ':');
	result = put_number(result, minute % 60, 2, ':');
	result = put_number(result, second, 2, '.');
	result = put_number(result, millisecond, 3, 'Z');
	*result = '\0';
	return true;
}
