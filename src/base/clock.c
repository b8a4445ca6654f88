/*
 * clock.c
 *	  The time that evenings, retries and retention go by: that of the server, or
 *	  in tests the one that minga_roster.test_clock sets.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/settings.h"

ROSTER_FUNCTION(roster_clock);

/*
 * A time is three groups of digits or more; what exactly is a valid one is
 * left to timestamptz_in, which needs a transaction.
 */
bool
roster_check_test_clock(char **newval, void **extra, GucSource source)
{
	if (*newval == NULL || **newval == '\0' || isdigit((unsigned char) **newval))
		return true;
	GUC_check_errdetail("A time such as \"2026-09-01 19:00:00-06\" is expected.");
	return false;
}

/*
 * The time that evenings, retries and retention go by.  May throw when
 * roster_test_clock holds no time.
 */
TimestampTz
roster_clock_now(void)
{
	if (roster_test_clock != NULL && roster_test_clock[0] != '\0')
		return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
													   CStringGetDatum(roster_test_clock),
													   ObjectIdGetDatum(InvalidOid),
													   Int32GetDatum(-1)));
	return GetCurrentTransactionStartTimestamp();
}

Datum
roster_clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(roster_clock_now());
}
