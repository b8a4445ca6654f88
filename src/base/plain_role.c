/*
 * plain_role.c
 *	  Roles whose rights code of a deployment may run with: those that neither are
 *	  nor can become a superuser or the extension's own role.
 *
 * What it must survive: a membership that was granted after a relation was
 * attached, so each statement on people asks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/plain_role.h"

ROSTER_FUNCTION(roster_more_than_plain);

/* Whether the role's CREATEROLE makes it a member of any role that it likes. */
static bool
reaches_all_roles(Oid role)
{
	HeapTuple	tuple;
	bool		has;

	if (!CREATEROLE_REACHES_ALL_ROLES)
		return false;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	if (!HeapTupleIsValid(tuple))
		return false;
	has = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreaterole;
	ReleaseSysCache(tuple);
	return has;
}

/*
 * Whether a role that is this one, or a member of it, has the rights of more than a plain role.  With
 * pg_execute_server_program, pg_read_server_files or pg_write_server_files it could become a superuser.
 */
static bool
is_strong(Oid role)
{
	return superuser_arg(role) || role == ROLE_PG_EXECUTE_SERVER_PROGRAM || role == ROLE_PG_READ_SERVER_FILES ||
		role == ROLE_PG_WRITE_SERVER_FILES || role == dba_role() || reaches_all_roles(role);
}

/* The role and all that it is a member of, through others too and with whatever options. */
static List *
role_and_memberships(Oid role)
{
	List	   *roles = list_make1_oid(role);

	/* grows while it is read */
	for (int i = 0; i < list_length(roles); i++)
	{
		CatCList   *memberships = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(list_nth_oid(roles, i)));

		for (int j = 0; j < memberships->n_members; j++)
			roles = list_append_unique_oid(roles, ((Form_pg_auth_members)
												   GETSTRUCT(&memberships->members[j]->tuple))->roleid);
		ReleaseSysCacheList(memberships);
	}
	return roles;
}

/* Why the role is more than a plain one, in words; palloc'd, or NULL. */
char *
more_than_plain(Oid role)
{
	char	   *name = GetUserNameFromId(role, false);
	const char *strongest = NULL;
	bool		is_superuser = false;
	ListCell   *cell;

	if (superuser_arg(role))
		return psprintf("superuser \"%s\"", name);
	if (role == dba_role())
		return psprintf("\"%s\", which the extension acts as", name);
	if (reaches_all_roles(role))
		return psprintf("\"%s\", which has CREATEROLE", name);
	foreach(cell, role_and_memberships(role))
	{
		Oid			other = lfirst_oid(cell);
		const char *other_name;

		if (!is_strong(other) || (is_superuser && !superuser_arg(other)))
			continue;
		other_name = GetUserNameFromId(other, false);
		if (strongest == NULL || superuser_arg(other) > is_superuser || strcmp(other_name, strongest) < 0)
			strongest = other_name;
		is_superuser = superuser_arg(other);
	}
	return strongest == NULL ? NULL : psprintf("\"%s\", a member of \"%s\"", name, strongest);
}

/* more_than_plain(role) */
Datum
roster_more_than_plain(PG_FUNCTION_ARGS)
{
	char	   *found = more_than_plain(PG_GETARG_OID(0));

	if (found == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(found));
}
