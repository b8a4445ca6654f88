/*
 * level.c
 *	  Levels, as C needs them: the check that the door makes for each call, and
 *	  what policies ask.  What the levels are is decided in sql/access/levels.sql.
 *
 * What it must survive: a current user with any search_path and settings; a
 * policy that is evaluated inside a security-restricted operation or a parallel
 * query.  The answer is the current user's own, so that it tells no one more.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"
#include "base/level.h"
#include "base/session.h"

ROSTER_FUNCTION(roster_sites_of);
ROSTER_FUNCTION(roster_districts_of);
ROSTER_FUNCTION(roster_sees_all);

/* The arguments that name a site, or what belongs to one. */
static const char *const places[] = {"connection", "run", "site"};

/*
 * Throws 42501 unless the caller has the level that the called function requires
 * at the site of its arguments.  Behind the door.
 */
void
level_check(FunctionCallInfo fcinfo, Oid caller)
{
	Oid			types[] = {NAMEOID, TEXTOID, TEXTOID, INT8OID, TEXTOID};
	Datum		values[5] = {0};
	char		nulls[] = " nnnn";
	HeapTuple	tuple;
	Oid		   *argument_types;
	char	  **names;
	char	   *modes;

	if (is_dba(caller))
		return;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
	values[0] = DirectFunctionCall1(namein, CStringGetDatum(NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname)));
	get_func_arg_info(tuple, &argument_types, &names, &modes);
	ReleaseSysCache(tuple);
	for (int i = 0; names != NULL && i < fcinfo->nargs; i++)
	{
		for (int place = 0; place < lengthof(places); place++)
		{
			if (nulls[1] != 'n' || strcmp(names[i], places[place]) != 0 || argument_types[i] != types[place + 2])
				continue;
			values[1] = CStringGetTextDatum(places[place]);
			nulls[1] = ' ';
			values[place + 2] = fcinfo->args[i].value;
			nulls[place + 2] = fcinfo->args[i].isnull ? 'n' : ' ';
		}
	}
	SPI_connect();
	SPI_execute_with_args("SELECT minga_roster_internal.check_level($1, $2, $3, $4, $5)", lengthof(types), types,
						  values, nulls, true, 0);
	SPI_finish();
}

/*
 * Adds what the query returns for the role and the level to the result.  With the
 * extension's rights and settings.  *plan is kept for the session.
 */
static void
collect(ReturnSetInfo *rsinfo, const char *query, SPIPlanPtr *plan, Oid role, Datum level)
{
	Oid			types[] = {NAMEOID, TEXTOID};
	Datum		values[2];

	values[0] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(role, false)));
	values[1] = level;
	SPI_connect();
	if (*plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare(query, lengthof(types), types);

		SPI_keepplan(made);
		*plan = made;
	}
	SPI_execute_plan(*plan, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
}

/*
 * Answers for the current user.  The door is not asked, and no one but the
 * current user matters: not the caller whom the extension acts for when it reads
 * people through a view of the deployment.
 */
static Datum
answer(FunctionCallInfo fcinfo, const char *query, SPIPlanPtr *plan)
{
	Oid			role = GetUserId();
	Oid			saved_user;
	int			saved_context;
	int			guc_level;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	GetUserIdAndSecContext(&saved_user, &saved_context);
	guc_level = NewGUCNestLevel();
	PG_TRY();
	{
		SetUserIdAndSecContext(dba_role(),
							   saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
		session_pin();
		collect((ReturnSetInfo *) fcinfo->resultinfo, query, plan, role, PG_GETARG_DATUM(0));
	}
	PG_FINALLY();
	{
		AtEOXact_GUC(false, guc_level);
		SetUserIdAndSecContext(saved_user, saved_context);
	}
	PG_END_TRY();
	return (Datum) 0;
}

/* sites_of(level): the sites at which the current user has the level. */
Datum
roster_sites_of(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;

	return answer(fcinfo, "SELECT minga_roster_internal.sites_of_role($1, $2)", &plan);
}

/* districts_of(level): the districts that have such a site, or that the level was granted for. */
Datum
roster_districts_of(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;

	return answer(fcinfo, "SELECT minga_roster_internal.districts_of_role($1, $2)", &plan);
}

/* sees_all(): whether the current user has the DBA level. */
Datum
roster_sees_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_dba(GetUserId()));
}
