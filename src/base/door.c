/*
 * door.c
 *	  The door of the extension.  What people call are C functions that run with
 *	  their caller's rights (SECURITY INVOKER).  Here it is decided, by the current
 *	  user at the call and nothing else, whether the caller may (level.c); then the
 *	  extension acts with the rights of its role (dba.c), in settings of its own.
 *
 * roster_door stands in front of a function of SQL: roster_toggle(...) in front
 * of do_toggle(...), which has the same arguments.  The functions that wait for a
 * run (launch.c) open and close the door themselves.
 *
 * What it must survive: a call from code that runs with someone else's rights
 * (an index expression under ANALYZE, a trigger below a sync), which is refused;
 * a caller whose search_path, role settings and objects are hostile: names that
 * the caller gives are resolved with the caller's rights before the door opens,
 * and nothing is resolved by the caller's settings behind it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/door.h"
#include "base/error.h"
#include "base/level.h"
#include "base/redact.h"
#include "base/session.h"
#include "base/version.h"

#define SHOWN_STATEMENT_MAX 128

ROSTER_FUNCTION(roster_door);
ROSTER_FUNCTION(roster_door_to_people);
ROSTER_FUNCTION(roster_caller);

/* What a call needs to know of the function behind the door; lives as long as the function's FmgrInfo. */
typedef struct Passage
{
	FmgrInfo	behind;
	char	   *name;			/* of the function that is called */
	bool		writes;			/* it is on record in audit */
	int			nnames;
	char	  **names;			/* of its arguments */
	Oid		   *types;
	bool		is_private;		/* an argument is a secret, or an ID of a person */
	int			people;			/* argument that names a relation, or -1 */
} Passage;

/* What door_close puts back. */
typedef struct Door
{
	Oid			caller_before;
	Oid			saved_user;
	int			saved_context;
	int			guc_level;
} Door;

/* A call of the function behind a stub. */
typedef struct PassedCall
{
	const Passage *passage;
	FunctionCallInfo inner;
	bool		gathers;		/* its arguments go on as one */
} PassedCall;

/* Arguments that no statement shows: secrets, and IDs of people. */
static const char *const private_arguments[] = {"secret", "client_secret", "sealed", "person_id", "sourced_id",
"links"};

/* Whom the extension acts for, InvalidOid outside the door. */
static Oid	current_caller = InvalidOid;

/* Whether the role may call the function: it, a role that it is a member of, or PUBLIC has EXECUTE. */
static bool
may_call(Oid function, Oid role)
{
	return compat_may_execute(function, role);
}

/* The function's row in pg_proc, for the caller to release. */
static HeapTuple
function_tuple(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function),
				 errhint("It was dropped in the meantime. Call it again when the extension exists.")));
	return tuple;
}

/* Lets the current user in, or throws 42501. */
static void
door_open(Door *door, FunctionCallInfo fcinfo)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	Oid			caller = GetUserId();

	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s cannot be called from code that runs with another role's rights", get_func_name(function)),
				 errdetail("The call came from a trigger, default, view or index expression that runs with the rights "
						   "of \"%s\" inside a security-restricted operation, such as ANALYZE or a sync.",
						   GetUserNameFromId(caller, false)),
				 errhint("Call it in a statement of its own.")));
	if (!may_call(function, caller))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));
	version_check();

	door->caller_before = current_caller;
	GetUserIdAndSecContext(&door->saved_user, &door->saved_context);
	door->guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(dba_role(),
						   door->saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	session_pin();
	current_caller = caller;
}

static void
door_close(const Door *door)
{
	AtEOXact_GUC(false, door->guc_level);
	SetUserIdAndSecContext(door->saved_user, door->saved_context);
	current_caller = door->caller_before;
}

/*
 * Throws the error once more that was caught.  Where it is our own, it says
 * all that its reader needs, and names no function behind the door with a
 * line number; code that called the function is still named.  The error is
 * copied into the current memory context.
 */
static void
rethrow(void)
{
	ErrorData  *error = CopyErrorData();

	if (!error_is_in_our_words(error))
		PG_RE_THROW();
	FlushErrorState();
	error->context = NULL;
	ThrowErrorData(error);
}

/*
 * Lets the current user in who has EXECUTE and the level that the function
 * requires at the site of its arguments (level.c), or throws 42501; returns what
 * "act" does for them, with the rights of the extension's role and with settings
 * of its own.
 */
Datum
door_pass(FunctionCallInfo fcinfo, BehindDoor act, void *arg)
{
	Door		door;
	volatile Datum result = (Datum) 0;
	MemoryContext context = CurrentMemoryContext;

	door_open(&door, fcinfo);
	PG_TRY();
	{
		level_check(fcinfo, door_caller());
		result = act(fcinfo, arg);
	}
	PG_CATCH();
	{
		door_close(&door);
		MemoryContextSwitchTo(context);
		rethrow();
	}
	PG_END_TRY();
	door_close(&door);
	return result;
}

/* Whom the extension acts for: who came through the door, else the current user. */
Oid
door_caller(void)
{
	return OidIsValid(current_caller) ? current_caller : GetUserId();
}

/* caller() */
Datum
roster_caller(PG_FUNCTION_ARGS)
{
	Name		name = palloc0(NAMEDATALEN);

	namestrcpy(name, GetUserNameFromId(door_caller(), false));
	PG_RETURN_NAME(name);
}

/*
 * Error reports name debug_query_string as STATEMENT, and pg_stat_activity
 * shows what was reported last; both show the function and its first argument
 * from here on.  The text lives as long as the session, since nothing tells when
 * the statement's last message was written.
 */
static void
hide_statement(const char *function, const char *first_argument)
{
	static char shown[SHOWN_STATEMENT_MAX];
	char	   *blank;

	snprintf(shown, sizeof(shown), "%s(%s, ...)", function,
			 first_argument == NULL ? "NULL" : quote_literal_cstr(first_argument));
	shown[pg_mbcliplen(shown, strlen(shown), sizeof(shown) - 1)] = '\0';
	if (debug_query_string != NULL)
		debug_query_string = shown;
	/* A shorter text leaves the end of a longer one behind it in shared memory. */
	blank = palloc0(pgstat_track_activity_query_size);
	memset(blank, ' ', pgstat_track_activity_query_size - 1);
	pgstat_report_activity(STATE_RUNNING, blank);
	pfree(blank);
	pgstat_report_activity(STATE_RUNNING, shown);
}

static int
argument_named(const Passage *passage, const char *name)
{
	for (int i = 0; i < passage->nnames; i++)
	{
		if (passage->names[i] != NULL && strcmp(passage->names[i], name) == 0)
			return i;
	}
	return -1;
}

/*
 * What the function is called, and its input arguments, which come first in each function that people call.  *types is
 * palloc'd.
 */
static void
describe(Oid function, Passage *passage, Oid **types, int *ntypes)
{
	HeapTuple	tuple = function_tuple(function);
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	char	   *modes;

	passage->name = pstrdup(NameStr(form->proname));
	passage->writes = form->provolatile == PROVOLATILE_VOLATILE;
	get_func_arg_info(tuple, types, &passage->names, &modes);
	*ntypes = form->pronargs;
	passage->nnames = passage->names == NULL ? 0 : form->pronargs;
	ReleaseSysCache(tuple);
}

/*
 * A function of schema minga_roster_internal, whose USAGE its callers do not have.  42883 where there is none: the
 * library and the schema are of different versions then.
 */
Oid
internal_function(const char *name, int count, const Oid *types)
{
	Oid			namespace = get_namespace_oid("minga_roster_internal", false);
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
										   PointerGetDatum(buildoidvector(types, count)),
										   ObjectIdGetDatum(namespace));

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function \"%s\" of minga_roster is missing", name),
				 errhint("Update the extension to the version of the library: ALTER EXTENSION minga_roster UPDATE.")));
	return function;
}

/*
 * Finds the function behind a stub: do_<name without "roster_"> of schema
 * minga_roster_internal, with the same arguments or, of a stub that names
 * people, with the given ones in a jsonb and the relation.
 */
static Passage *
find_passage(FunctionCallInfo fcinfo, bool to_people)
{
	MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	Passage    *passage = palloc0(sizeof(Passage));
	Oid			function = fcinfo->flinfo->fn_oid;
	const Oid	gathered[] = {JSONBOID, REGCLASSOID};
	int			count;
	char	   *behind;

	describe(function, passage, &passage->types, &count);
	for (int i = 0; i < lengthof(private_arguments); i++)
		passage->is_private |= argument_named(passage, private_arguments[i]) >= 0;
	passage->people = to_people ? argument_named(passage, "people") : -1;
	behind = passage->name;
	if (strncmp(behind, "roster_", strlen("roster_")) == 0)
		behind += strlen("roster_");
	fmgr_info_cxt(internal_function(psprintf("do_%s", behind), to_people ? lengthof(gathered) : count,
									to_people ? gathered : passage->types),
				  &passage->behind, fcinfo->flinfo->fn_mcxt);
	MemoryContextSwitchTo(caller);
	return passage;
}

/* A name of a relation as its caller would resolve it; false where there is none of that name. */
static bool
resolve_relation(text *name, Oid *relation)
{
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo	flinfo;
	Datum		found;

	fmgr_info(F_TO_REGCLASS, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = PointerGetDatum(name);
	fcinfo->args[0].isnull = false;
	found = FunctionCallInvoke(fcinfo);
	*relation = fcinfo->isnull ? InvalidOid : DatumGetObjectId(found);
	return !fcinfo->isnull;
}

/* Puts on record who called what of which connection or run, and which arguments were given, without their values. */
static void
record_call(const Passage *passage, FunctionCallInfo fcinfo)
{
	Oid			types[] = {NAMEOID, NAMEOID, TEXTOID, INT8OID, TEXTARRAYOID, TEXTOID};
	Datum		values[6];
	char		nulls[] = "      ";
	Datum	   *given = palloc(Max(passage->nnames, 1) * sizeof(Datum));
	int			ngiven = 0;
	int			connection = argument_named(passage, "connection");
	int			run = argument_named(passage, "run");
	int			site = argument_named(passage, "site");

	for (int i = 0; i < passage->nnames; i++)
	{
		if (!fcinfo->args[i].isnull && i != connection && i != run)
			given[ngiven++] = CStringGetTextDatum(passage->names[i]);
	}
	values[0] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(door_caller(), false)));
	values[1] = DirectFunctionCall1(namein, CStringGetDatum(passage->name));
	nulls[2] = connection < 0 || fcinfo->args[connection].isnull ? 'n' : ' ';
	values[2] = nulls[2] == 'n' ? (Datum) 0 : fcinfo->args[connection].value;
	nulls[3] = run < 0 || fcinfo->args[run].isnull ? 'n' : ' ';
	values[3] = nulls[3] == 'n' ? (Datum) 0 : fcinfo->args[run].value;
	values[4] = PointerGetDatum(construct_array(given, ngiven, TEXTOID, -1, false, TYPALIGN_INT));
	nulls[5] = site < 0 || fcinfo->args[site].isnull ? 'n' : ' ';
	values[5] = nulls[5] == 'n' ? (Datum) 0 : fcinfo->args[site].value;
	SPI_connect();
	SPI_execute_with_args("INSERT INTO minga_roster.audit (role, function, connection, run, given, site) "
						  "VALUES ($1, $2, $3, $4, $5, coalesce("
						  "(SELECT c.site FROM minga_roster.connections c WHERE c.connection = $3), "
						  "(SELECT r.site FROM minga_roster.runs r WHERE r.run = $4), $6))",
						  lengthof(types), types, values, nulls, false, 0);
	SPI_finish();
}

/* Puts the call of a function that passes the door by itself on record.  Behind the door. */
void
door_record(FunctionCallInfo fcinfo)
{
	Passage		passage;
	Oid		   *types;
	int			ntypes;

	describe(fcinfo->flinfo->fn_oid, &passage, &types, &ntypes);
	record_call(&passage, fcinfo);
}

/* The arguments that are not NULL, as a jsonb object of texts by name. */
static Datum
given_arguments(const Passage *passage, FunctionCallInfo fcinfo)
{
	Datum	   *names = palloc(Max(passage->nnames, 1) * sizeof(Datum));
	Datum	   *values = palloc(Max(passage->nnames, 1) * sizeof(Datum));
	int			given = 0;

	for (int i = 0; i < passage->nnames; i++)
	{
		Oid			output;
		bool		is_varlena;

		if (fcinfo->args[i].isnull)
			continue;
		getTypeOutputInfo(passage->types[i], &output, &is_varlena);
		names[given] = CStringGetTextDatum(passage->names[i]);
		values[given++] = CStringGetTextDatum(OidOutputFunctionCall(output, fcinfo->args[i].value));
	}
	return DirectFunctionCall2(jsonb_object_two_arg,
							   PointerGetDatum(construct_array(names, given, TEXTOID, -1, false, TYPALIGN_INT)),
							   PointerGetDatum(construct_array(values, given, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* Throws 25006 on a standby, before anything fails there that says less. */
void
refuse_on_standby(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", function),
				 errdetail("This server is a standby."),
				 errhint("Call it on the primary server.")));
}

/* Calls the function behind the door, and puts the call on record where it may write. */
static Datum
call_behind(FunctionCallInfo fcinfo, void *arg)
{
	PassedCall *call = arg;
	Datum		result;

	if (call->passage->writes)
		refuse_on_standby(call->passage->name);
	if (call->gathers)
	{
		call->inner->args[0].value = given_arguments(call->passage, fcinfo);
		call->inner->args[0].isnull = false;
	}
	result = FunctionCallInvoke(call->inner);
	fcinfo->isnull = call->inner->isnull;
	if (call->passage->writes)
		record_call(call->passage, fcinfo);
	return result;
}

/* Passes a call on with the stub's arguments, or with all of them in one and the relation that the caller named. */
static Datum
pass(FunctionCallInfo fcinfo, bool to_people)
{
	LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
	PassedCall	call;
	Passage    *passage = fcinfo->flinfo->fn_extra;
	Oid			relation = InvalidOid;
	bool		found = false;
	ErrorContextCallback *context = error_context_stack;
	Datum		result;

	if (passage == NULL)
		passage = fcinfo->flinfo->fn_extra = find_passage(fcinfo, to_people);
	if (passage->is_private)
	{
		hide_statement(passage->name, fcinfo->args[0].isnull ? NULL : TextDatumGetCString(fcinfo->args[0].value));
		/* A function that calls this one would quote its statement in the context of an error. */
		error_context_stack = NULL;
	}
	if (passage->people >= 0 && !fcinfo->args[passage->people].isnull)
		found = resolve_relation(DatumGetTextPP(fcinfo->args[passage->people].value), &relation);

	InitFunctionCallInfoData(*inner, &passage->behind, to_people ? 2 : fcinfo->nargs, fcinfo->fncollation,
							 fcinfo->context, fcinfo->resultinfo);
	if (to_people)
	{
		inner->args[1].value = ObjectIdGetDatum(relation);
		inner->args[1].isnull = !found;
	}
	else
		memcpy(inner->args, fcinfo->args, fcinfo->nargs * sizeof(NullableDatum));
	call.passage = passage;
	call.inner = inner;
	call.gathers = to_people;
	result = door_pass(fcinfo, call_behind, &call);
	error_context_stack = context;
	return result;
}

/* A stub whose function behind the door takes the same arguments. */
Datum
roster_door(PG_FUNCTION_ARGS)
{
	return pass(fcinfo, false);
}

/*
 * A stub of many settings, one of which, "people", names a relation.  The function behind the door gets the settings
 * that were given as one jsonb, and the relation, NULL where there is none.
 */
Datum
roster_door_to_people(PG_FUNCTION_ARGS)
{
	return pass(fcinfo, true);
}
