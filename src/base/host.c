/*
 * host.c
 *	  What the health of a server depends on and no query shows to the extension's
 *	  role: which background workers there are, which time zones, and of which
 *	  release.
 *
 * Nothing here says what another session does.  What it must survive: a file of
 * time zones that is missing, is not one, or holds anything.
 */
#include "postgres.h"

#include <ctype.h>
#include <sys/stat.h>

#include "common/config_info.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "postmaster/bgworker.h"
#include "storage/fd.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"

ROSTER_FUNCTION(roster_background_workers);
ROSTER_FUNCTION(roster_time_zone_release);
ROSTER_FUNCTION(roster_usable_zone);

/* What pg_cron names its one process that starts jobs, in pg_stat_activity.backend_type too. */
#define CRON_LAUNCHER "pg_cron launcher"

#define SYSTEM_ZONES "--with-system-tzdata="
#define RELEASE_LINE "# version "
#define RELEASE_MAX 16

/* background_workers(): the slots of max_worker_processes that are in use, and whether pg_cron's launcher has one */
Datum
roster_background_workers(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	int			used = 0;
	bool		has_launcher = false;

	require_dba(fcinfo);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int i = 1; i <= pgstat_fetch_stat_numbackends(); i++)
	{
		const		PgBackendStatus *backend = compat_backend_status(i);
		const char *type;

		if (backend == NULL || backend->st_backendType != B_BG_WORKER)
			continue;
		used++;
		type = GetBackgroundWorkerTypeByPid(backend->st_procpid);
		has_launcher |= type != NULL && strcmp(type, CRON_LAUNCHER) == 0;
	}
	values[0] = Int32GetDatum(used);
	values[1] = BoolGetDatum(has_launcher);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}

/* Where the server finds its time zones: its own, or those of the operating system; palloc'd. */
static char *
time_zone_directory(void)
{
	char		share[MAXPGPATH];
	size_t		count;
	ConfigData *facts = get_configdata(my_exec_path, &count);

	for (size_t i = 0; i < count; i++)
	{
		char	   *start = strcmp(facts[i].name, "CONFIGURE") == 0 ? strstr(facts[i].setting, SYSTEM_ZONES) : NULL;

		if (start == NULL)
			continue;
		start += strlen(SYSTEM_ZONES);
		return pnstrdup(start, strcspn(start, "' "));
	}
	get_share_path(my_exec_path, share);
	return psprintf("%s/timezone", share);
}

/* time_zone_release(): "2025b", as the file tzdata.zi says; NULL where it does not */
Datum
roster_time_zone_release(PG_FUNCTION_ARGS)
{
	char		line[sizeof(RELEASE_LINE) + RELEASE_MAX];
	struct stat st;
	FILE	   *file;
	char	   *release = line + strlen(RELEASE_LINE);
	int			len = 0;
	bool		ok;

	require_dba(fcinfo);
	file = AllocateFile(psprintf("%s/tzdata.zi", time_zone_directory()), "r");
	if (file == NULL)
		PG_RETURN_NULL();
	ok = fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) && fgets(line, sizeof(line), file) != NULL &&
		strncmp(line, RELEASE_LINE, strlen(RELEASE_LINE)) == 0;
	FreeFile(file);
	while (ok && isalnum((unsigned char) release[len]))
		len++;
	if (len == 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(release, len));
}

/* usable_zone(time_zone): it, or UTC where it is NULL or the server has no such zone */
Datum
roster_usable_zone(PG_FUNCTION_ARGS)
{
	text	   *name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);

	if (name != NULL && VARSIZE_ANY_EXHDR(name) <= TZ_STRLEN_MAX && pg_tzset(text_to_cstring(name)) != NULL)
		PG_RETURN_TEXT_P(name);
	PG_RETURN_TEXT_P(cstring_to_text("UTC"));
}
