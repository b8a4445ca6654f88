/*
 * clock.c
 *	  The time that evenings, retries and retention go by: that of the server, or
 *	  in tests the one that minga_roster.test_clock sets.
 */
#include "postgres.h"

#include <ctype.h>
#include <time.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"
#include "base/settings.h"

ROSTER_FUNCTION(roster_clock);
ROSTER_FUNCTION(roster_system_uptime);

/* Linux tells here, in a line of 36 characters, which start of the system this is. */
#define BOOT_FILE "/proc/sys/kernel/random/boot_id"
#define BOOT_MAX 64

/* A clock that counts what the system slept too, where there is one, and that no one can set. */
#ifdef CLOCK_BOOTTIME
#define UPTIME_CLOCK CLOCK_BOOTTIME
#else
#define UPTIME_CLOCK CLOCK_MONOTONIC
#endif

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

/* Which start of the system this is; false where it does not tell. */
static bool
read_boot(char *boot)
{
	FILE	   *file = AllocateFile(BOOT_FILE, "r");
	bool		found = file != NULL && fgets(boot, BOOT_MAX, file) != NULL;

	if (file != NULL)
		FreeFile(file);
	if (found)
		boot[strcspn(boot, "\n")] = '\0';
	return found && boot[0] != '\0';
}

/* system_uptime(): which start of the system this is, and how long ago it was. */
Datum
roster_system_uptime(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	char		boot[BOOT_MAX];
	struct timespec up;

	require_dba(fcinfo);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if ((roster_test_clock == NULL || roster_test_clock[0] == '\0') &&
		clock_gettime(UPTIME_CLOCK, &up) == 0 && read_boot(boot))
	{
		Interval   *uptime = palloc0(sizeof(Interval));

		uptime->time = (TimeOffset) up.tv_sec * USECS_PER_SEC + up.tv_nsec / 1000;
		values[0] = CStringGetTextDatum(boot);
		values[1] = IntervalPGetDatum(uptime);
		nulls[0] = nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
