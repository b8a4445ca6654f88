/*
 * people.c
 *	  roster_create_people: the name of the table is resolved as its caller would,
 *	  and the table is made with the caller's rights; what is checked before and
 *	  the attachment are the extension's.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/door.h"
#include "base/error.h"

ROSTER_FUNCTION(roster_create_people);

/* The table to be made: three names, as functions of SQL take them. */
typedef struct NewPeople
{
	Datum		schema;
	Datum		relation;
	Datum		owner;
} NewPeople;

static Datum
name_datum(const char *name)
{
	return DirectFunctionCall1(namein, CStringGetDatum(name));
}

/* Schema and name of the table as the caller means them; throws for what is no name, or where no schema is selected. */
static void
resolve_name(text *name, NewPeople *people)
{
	List	   *parts = textToQualifiedNameList(name);

	if (list_length(parts) == 1)
	{
		List	   *path = fetch_search_path(false);

		if (path == NIL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_SCHEMA),
					 errmsg("no schema has been selected to create in"),
					 errhint("Name the schema too: 'public.people'.")));
		people->schema = name_datum(get_namespace_name(linitial_oid(path)));
	}
	else if (list_length(parts) == 2)
		people->schema = name_datum(strVal(linitial(parts)));
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not the name of a table", text_to_cstring(name)),
				 errhint("Give a name, or a schema and a name: 'public.people'.")));
	people->relation = name_datum(strVal(llast(parts)));
}

/* Calls a function of schema minga_roster_internal with the three names. */
static Datum
call_with_names(const char *function, const NewPeople *people)
{
	static const Oid types[] = {NAMEOID, NAMEOID, NAMEOID};

	return OidFunctionCall3(internal_function(function, lengthof(types), types),
							people->schema, people->relation, people->owner);
}

static Datum
check_behind(FunctionCallInfo fcinfo, void *arg)
{
	return call_with_names("check_new_people", arg);
}

static Datum
attach_behind(FunctionCallInfo fcinfo, void *arg)
{
	Datum		relation = call_with_names("attach_new_people", arg);

	door_record(fcinfo);
	return relation;
}

/* roster_create_people(relation, owner): the table that was made, as regclass. */
Datum
roster_create_people(PG_FUNCTION_ARGS)
{
	NewPeople	people;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("no people relation was given"),
				 errhint("Name the table to make: SELECT minga_roster.roster_create_people('public.people', owner => "
						 "'people_owner').")));
	resolve_name(PG_GETARG_TEXT_PP(0), &people);
	people.owner = PG_ARGISNULL(1) ? name_datum(GetUserNameFromId(GetUserId(), false)) : PG_GETARG_DATUM(1);
	door_pass(fcinfo, check_behind, &people);
	call_with_names("make_people", &people);
	return door_pass(fcinfo, attach_behind, &people);
}
