/*
 * dba.c
 *	  The role that the extension's objects belong to (minga_roster_dba), with
 *	  whose rights the door and the worker act.
 *
 * It is the owner of table minga_roster.connections, whatever its name: that
 * schema is a superuser's, so that no other role can put a table in its place.
 * What it must survive: a role that was made a superuser, whose rights nothing of
 * ours is to run with.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/dba.h"
#include "base/error.h"

/* The role.  Throws where it is a superuser, and where the extension is not there. */
Oid
dba_role(void)
{
	Oid			schema = get_namespace_oid("minga_roster", true);
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(get_relname_relid("connections", schema)));
	Oid			role;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"minga_roster\" does not exist"),
				 errhint("Create it: CREATE EXTENSION minga_roster.")));
	role = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (superuser_arg(role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" is a superuser", GetUserNameFromId(role, false)),
				 errdetail("It owns table \"minga_roster.connections\". minga_roster acts with the rights of that "
						   "owner, and never with those of a superuser."),
				 errhint("ALTER ROLE %s NOSUPERUSER. If the table was given to another role: ALTER TABLE "
						 "minga_roster.connections OWNER TO minga_roster_dba.",
						 quote_identifier(GetUserNameFromId(role, false)))));
	return role;
}

/* Whether the role has the rights of the extension's: it is the role itself, a member or a superuser. */
bool
is_dba(Oid role)
{
	return has_privs_of_role(role, dba_role());
}

/* For an internal function, whose EXECUTE someone may have granted: throws 42501 unless the current user is that. */
void
require_dba(FunctionCallInfo fcinfo)
{
	if (!is_dba(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", get_func_name(fcinfo->flinfo->fn_oid)),
				 errdetail("Only the role that the extension acts with may call it."),
				 errhint("Use the functions whose names begin with \"roster_\".")));
}
