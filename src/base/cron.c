/*
 * cron.c
 *	  The one thing that is done with a superuser's rights: the extension's job
 *	  in pg_cron.
 *
 * pg_cron runs a job as the role that made it, which has to be able to log in,
 * and shows a role its own jobs alone.  The role of the extension cannot log in,
 * so the job belongs to the extension's owner, and is read and changed as that
 * role.  What is run so is constant, the command of the job included: nothing that
 * a caller says is in it.
 *
 * What it must survive: a caller with the rights of the extension's role, who may
 * do no more than what the extension itself does with its one job; and functions
 * that others made in the schema of pg_cron.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"
#include "base/session.h"

ROSTER_FUNCTION(roster_cron_command);
ROSTER_FUNCTION(roster_cron);
ROSTER_FUNCTION(roster_server_setting);

/*
 * The command of the job: a single statement, since workers of pg_cron take no
 * more.  It calls the extension's own function alone, not one of its name that
 * was made after the extension was dropped, and then removes the job.
 */
#define CRON_COMMAND \
	"DO $do$ BEGIN " \
	"IF EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) " \
	"d.refobjid " \
	"WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass " \
	"AND d.objid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure('minga_roster.roster_run_due()') " \
	"AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass " \
	"AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'minga_roster') " \
	"THEN PERFORM minga_roster.roster_run_due(); " \
	"ELSE PERFORM cron.unschedule('minga_roster'); END IF; END $do$"

/* The job, by its owner ($1) and command ($2), not by its name alone; earlier versions had another DO command. */
#define OURS \
	"(SELECT j.jobid AS job, j.active, j.command FROM cron.job j " \
	"WHERE j.username = $1 AND j.database = current_database() AND j.jobname = 'minga_roster' " \
	"AND (j.command = $2 OR j.command ~ '^DO .*minga_roster\\.roster_run_due\\(\\)') " \
	"ORDER BY j.active DESC, j.jobid LIMIT 1) AS o"

/* What may be done.  Each statement has as $1 the extension's owner and as $2 the command. */
static const struct Deed
{
	const char *name;
	const char *statement;
}			deeds[] =

{
	{"look", NULL},
	{"schedule", "SELECT cron.schedule('minga_roster', '* * * * *', $2) WHERE $1 IS NOT NULL"},
	{"unschedule", "SELECT cron.unschedule(o.job) FROM " OURS},
	{"activate", "SELECT cron.alter_job(o.job, active := true) FROM " OURS " WHERE NOT o.active"},
	{"renew", "SELECT cron.alter_job(o.job, command := $2) FROM " OURS " WHERE o.command <> $2"},
	/* pg_cron keeps the details of each run forever, without an index to find ours */
	{"trim", "DELETE FROM cron.job_run_details d WHERE d.runid IN ("
		"SELECT r.runid FROM " OURS " JOIN cron.job_run_details r ON r.jobid = o.job "
		"WHERE coalesce(r.end_time, r.start_time, '-infinity') < now() - interval '1 day' "
		"AND r.status NOT IN ('starting', 'running', 'connecting', 'sending') "
	"ORDER BY r.runid LIMIT 10000)"},
};

/* What there is: our job, another one of its owner and name, and what the latest run of ours failed with. */
#define LOOK \
	"SELECT o.job, o.active, o.command, " \
	"(SELECT min(j.jobid) FROM cron.job j WHERE j.username = $1 AND j.jobname = 'minga_roster' " \
	"AND j.jobid IS DISTINCT FROM o.job), " \
	"(SELECT d.return_message FROM (SELECT r.status, r.return_message FROM cron.job_run_details r " \
	"WHERE r.jobid = o.job AND r.status IN ('succeeded', 'failed') ORDER BY r.runid DESC LIMIT 1) d " \
	"WHERE d.status = 'failed') " \
	"FROM (SELECT) AS one LEFT JOIN " OURS " ON true"

/* Whether pg_cron is installed here; and whether what its schema has under the names that are called is its own. */
#define IS_HERE \
	"SELECT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid " \
	"WHERE e.extname = 'pg_cron' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' " \
	"AND d.classid = 'pg_class'::regclass AND d.objid = to_regclass('cron.job')), " \
	"(SELECT min(p.oid::regprocedure::text) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace " \
	"WHERE n.nspname = 'cron' AND p.proname IN ('schedule', 'unschedule', 'alter_job') " \
	"AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid " \
	"WHERE e.extname = 'pg_cron' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' " \
	"AND d.classid = 'pg_proc'::regclass AND d.objid = p.oid))"

#define COLUMNS 6

/* cron_command() */
Datum
roster_cron_command(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(CRON_COMMAND));
}

static const struct Deed *
find_deed(const char *name)
{
	for (int i = 0; i < lengthof(deeds); i++)
	{
		if (strcmp(deeds[i].name, name) == 0)
			return &deeds[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid deed \"%s\"", name),
			 errhint("Valid are \"look\", \"schedule\", \"unschedule\", \"activate\", \"renew\" and \"trim\".")));
	return NULL;				/* not reached */
}

/* The owner of this extension; the lock of its row is not needed, which no statement changes. */
static Oid
extension_owner(void)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("minga_roster"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"minga_roster\" does not exist")));
	return owner;
}

/* Whether pg_cron is here; throws where a function in its schema would be taken for one of its own. */
static bool
cron_is_here(void)
{
	char	   *planted;
	bool		isnull;
	bool		is_here;

	SPI_execute(IS_HERE, true, 1);
	is_here = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	planted = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	if (is_here && planted != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" is not one of pg_cron's", planted),
				 errdetail("It could be called in place of pg_cron's, with a superuser's rights."),
				 errhint("Drop it, and revoke CREATE on schema \"cron\" from other roles.")));
	return is_here;
}

/* Does the deed, then says what there is, as the current user. */
static void
do_deed(const struct Deed *deed, Oid owner, Datum *values, bool *nulls)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		arguments[] = {CStringGetTextDatum(GetUserNameFromId(owner, false)), CStringGetTextDatum(CRON_COMMAND)};
	MemoryContext caller = CurrentMemoryContext;

	memset(nulls, true, COLUMNS * sizeof(bool));
	SPI_connect();
	values[0] = BoolGetDatum(cron_is_here());
	nulls[0] = false;
	if (DatumGetBool(values[0]))
	{
		if (deed->statement != NULL)
			SPI_execute_with_args(deed->statement, 2, types, arguments, NULL, false, 0);
		SPI_execute_with_args(LOOK, 2, types, arguments, NULL, deed->statement == NULL, 1);
		for (int i = 1; i < COLUMNS; i++)
		{
			bool		is_text = i == 3 || i == 5;
			Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i, &nulls[i]);

			if (!nulls[i] && is_text)
			{
				MemoryContext spi = MemoryContextSwitchTo(caller);

				value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
				MemoryContextSwitchTo(spi);
			}
			values[i] = value;
		}
	}
	SPI_finish();
}

/*
 * cron(deed): what is to be done with the job, as the extension's owner; then
 * whether pg_cron is installed, the job, whether it is active, its command,
 * another job of that name and owner, and what the latest run failed with.
 */
Datum
roster_cron(PG_FUNCTION_ARGS)
{
	const struct Deed *deed;
	Oid			owner;
	TupleDesc	descriptor;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS];
	Oid			saved_user;
	int			saved_context;
	int			guc_level;

	require_dba(fcinfo);
	deed = find_deed(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	owner = extension_owner();
	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(owner, saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	guc_level = NewGUCNestLevel();
	/* an error gives both back: its subtransaction or transaction had them when it began, as those of the caller */
	session_pin();
	do_deed(deed, owner, values, nulls);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(saved_user, saved_context);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}

/* server_setting(name): of settings that the extension's role may not see those that pg_cron goes by. */
Datum
roster_server_setting(PG_FUNCTION_ARGS)
{
	static const char *const shown[] = {
		"config_file", "cron.database_name", "cron.enable_superuser_jobs", "cron.launch_active_jobs", "cron.log_run",
		"cron.max_running_jobs", "cron.use_background_workers", "shared_preload_libraries"
	};
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	require_dba(fcinfo);
	for (int i = 0; i < lengthof(shown); i++)
	{
		const char *value;

		if (strcmp(name, shown[i]) != 0)
			continue;
		value = GetConfigOption(name, true, false);
		/* what the configuration sets for a library that is not there is a placeholder */
		if (value == NULL || (GetConfigOptionFlags(name, true) & GUC_CUSTOM_PLACEHOLDER) != 0)
			PG_RETURN_NULL();
		PG_RETURN_TEXT_P(cstring_to_text(value));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("setting \"%s\" is not one that minga_roster reads", name)));
	PG_RETURN_NULL();
}
