/*
 * row_date.h
 *	  A date in the one form in which dates sort as text.
 */
#ifndef MINGA_ROSTER_ROW_DATE_H
#define MINGA_ROSTER_ROW_DATE_H

#include "postgres.h"

#define ROW_DATE_LEN 24			/* of 2026-01-31T23:59:59.999Z */

extern bool row_date_to_utc(const char *value, int len, char *result);

#endif							/* MINGA_ROSTER_ROW_DATE_H */
