/*
 * session.c
 *	  The settings that our statements go by: those that a worker starts with,
 *	  those that hold while the extension acts for a caller, and those that the
 *	  code of a deployment finds while a statement of ours runs it.
 *
 * What it must survive: an owner of the database, or a role, that sets whatever
 * it may (ALTER DATABASE ... SET, ALTER ROLE ... SET, SET): search_path, role and
 * session_authorization above all, but no setting is trusted.  A worker puts
 * aside each value that the database or a role gave it, and goes by what the
 * server has.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/session.h"

/* A setting's value as text. */
typedef struct Setting
{
	const char *name;
	char	   *value;
} Setting;

/* What holds in each session while our code works, whatever a role or database has set. */
static const Setting pinned[] = {
	{"search_path", "pg_catalog, pg_temp"},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"array_nulls", "on"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"},
	{"gin_fuzzy_search_limit", "0"},
	{"jit", "off"},
	{"plpgsql.extra_errors", "none"},
	{"plpgsql.extra_warnings", "none"},
	{"plpgsql.variable_conflict", "error"},
	{"quote_all_identifiers", "off"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"xmloption", "content"},
};

/* What holds in a worker besides. */
static const Setting of_worker[] = {
	{"application_name", "minga_roster"},
	{"default_transaction_deferrable", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"idle_in_transaction_session_timeout", "0"},
	{"log_min_error_statement", "panic"},
	{"max_parallel_workers_per_gather", "0"},
	{"session_replication_role", "origin"},
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},	/* since 17 */
};

/*
 * What code of a deployment that a worker runs finds as the database or the server
 * has it: what its values and its text mean.  Nothing that could end or hold the
 * worker.
 */
static const char *const given_back[] = {
	"TimeZone", "array_nulls", "default_text_search_config", "gin_fuzzy_search_limit", "lc_messages", "lc_monetary",
	"lc_numeric", "lc_time", "plpgsql.extra_errors", "plpgsql.extra_warnings", "plpgsql.variable_conflict",
	"standard_conforming_strings", "transform_null_equals", "xmloption"
};

/* The server's own values, as a worker finds them before it connects; then what the database or a role had instead. */
static Setting *server_settings = NULL;
static int	nserver_settings = 0;
static Setting *put_aside = NULL;
static int	nput_aside = 0;

/*
 * Notes the server's values, in TopMemoryContext.  For a worker that has not
 * connected to its database yet.
 */
void
session_note_server(void)
{
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	struct config_generic **variables;

	/* its settings have to be there before a database sets them */
	load_file("$libdir/plpgsql", false);
	variables = compat_guc_variables(&nserver_settings);
	server_settings = palloc0(nserver_settings * sizeof(Setting));
	for (int i = 0; i < nserver_settings; i++)
	{
		const char *value = GetConfigOption(variables[i]->name, true, false);

		server_settings[i].name = variables[i]->name;
		server_settings[i].value = value == NULL ? NULL : pstrdup(value);
	}
	MemoryContextSwitchTo(caller);
}

static const Setting *
find_setting(const Setting *settings, int nsettings, const char *name)
{
	for (int i = 0; i < nsettings; i++)
	{
		if (pg_strcasecmp(settings[i].name, name) == 0)
			return &settings[i];
	}
	return NULL;
}

/* Whether the database, a role or both gave the setting its value. */
static bool
is_from_catalog(GucSource source)
{
	return source == PGC_S_GLOBAL || source == PGC_S_DATABASE || source == PGC_S_USER || source == PGC_S_DATABASE_USER;
}

/* Goes back to the server's value of each setting that the database or a role has set. */
static void
put_catalog_settings_aside(void)
{
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	int			nvariables;
	struct config_generic **variables = compat_guc_variables(&nvariables);

	put_aside = palloc0(nvariables * sizeof(Setting));
	for (int i = 0; i < nvariables; i++)
	{
		struct config_generic *variable = variables[i];
		const Setting *server;

		/* who we are is settled, and nothing that is given back; a placeholder means nothing to the server */
		if (!is_from_catalog(variable->source) || (variable->flags & GUC_NOT_WHILE_SEC_REST) != 0)
			continue;
		server = find_setting(server_settings, nserver_settings, variable->name);
		if (server == NULL || server->value == NULL)
			continue;
		put_aside[nput_aside].name = variable->name;
		put_aside[nput_aside++].value = pstrdup(GetConfigOption(variable->name, false, false));
		/* what a superuser alone may set is a superuser's */
		if (variable->context == PGC_USERSET)
			SetConfigOption(variable->name, server->value, PGC_SUSET, PGC_S_SESSION);
	}
	MemoryContextSwitchTo(caller);
}

static void
set_for_good(const Setting *settings, int nsettings)
{
	for (int i = 0; i < nsettings; i++)
	{
		if (GetConfigOption(settings[i].name, true, false) != NULL)
			SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_SESSION);
	}
}

/*
 * For a worker that has just connected, before its first statement: it is the
 * bootstrap superuser again, and goes by the server's settings and ours.  Needs
 * no transaction.
 */
void
session_settle(void)
{
	SetSessionAuthorization(BOOTSTRAP_SUPERUSERID, true);
	SetConfigOption("role", "none", PGC_SUSET, PGC_S_SESSION);
	put_catalog_settings_aside();
	set_for_good(pinned, lengthof(pinned));
	set_for_good(of_worker, lengthof(of_worker));
}

/*
 * For a worker outside of a transaction: the session is that of the role.  Code
 * of a deployment could take that back by SET SESSION AUTHORIZATION, as the
 * bootstrap superuser has logged in; a transaction keeps it from that
 * (transaction.c).
 */
void
session_become(Oid role)
{
	SetSessionAuthorization(role, false);
}

static void
set_for_now(const char *name, const char *value)
{
	if (GetConfigOption(name, true, false) != NULL)
		(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* Sets what our code goes by until the end of the current nest level of settings. */
void
session_pin(void)
{
	for (int i = 0; i < lengthof(pinned); i++)
		set_for_now(pinned[i].name, pinned[i].value);
}

/* The search_path that pg_db_role_setting has for database and role (InvalidOid: for any); palloc'd, or NULL. */
static char *
search_path_set(Relation settings, Oid database, Oid role)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *path = NULL;

	ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	scan = systable_beginscan(settings, DbRoleSettingDatidRolidIndexId, true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		config = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig, RelationGetDescr(settings),
										  &isnull);
		Datum	   *entries;
		int			nentries = 0;

		if (!isnull)
			deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false, TYPALIGN_INT, &entries, NULL, &nentries);
		for (int i = 0; i < nentries; i++)
		{
			char	   *name;
			char	   *value;

			ParseLongOption(TextDatumGetCString(entries[i]), &name, &value);
			if (value != NULL && strcmp(name, "search_path") == 0)
				path = pstrdup(value);
		}
	}
	systable_endscan(scan);
	return path;
}

/* The server's own search_path, as this session knows it: what a caller or a role set is none. */
static const char *
server_search_path(void)
{
	const Setting *noted = find_setting(server_settings, nserver_settings, "search_path");
	int			nvariables;
	struct config_generic **variables = compat_guc_variables(&nvariables);

	if (noted != NULL)
		return noted->value;
	for (int i = 0; i < nvariables; i++)
	{
		if (strcmp(variables[i]->name, "search_path") == 0 && variables[i]->reset_source <= PGC_S_ARGV)
			return ((struct config_string *) variables[i])->reset_val;
	}
	return "\"$user\", public";
}

/*
 * Whether "$user" means something to a session of the role: a schema of its name that is its own, or that a superuser
 * made for it.
 */
static bool
has_own_schema(const char *role_name, Oid role)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum(role_name));
	bool		own;

	if (!HeapTupleIsValid(tuple))
		return false;
	own = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner == role ||
		superuser_arg(((Form_pg_namespace) GETSTRUCT(tuple))->nspowner);
	ReleaseSysCache(tuple);
	return own;
}

/*
 * The search_path for code that a deployment wrote and that runs with the rights
 * of this role: what a session of the role would have, pg_catalog first and the
 * temporary schema last.  palloc'd.
 */
static char *
search_path_for(Oid role)
{
	Relation	settings = table_open(DbRoleSettingRelationId, AccessShareLock);
	char	   *path = search_path_set(settings, MyDatabaseId, role);
	char	   *role_name = GetUserNameFromId(role, false);
	List	   *schemas;
	ListCell   *cell;
	StringInfoData whole;

	if (path == NULL)
		path = search_path_set(settings, InvalidOid, role);
	if (path == NULL)
		path = search_path_set(settings, MyDatabaseId, InvalidOid);
	if (path == NULL)
		path = search_path_set(settings, InvalidOid, InvalidOid);
	table_close(settings, AccessShareLock);
	if (path == NULL)
		path = pstrdup(server_search_path());

	initStringInfo(&whole);
	appendStringInfoString(&whole, "pg_catalog");
	if (!SplitIdentifierString(path, ',', &schemas))
		schemas = NIL;
	foreach(cell, schemas)
	{
		const char *schema = lfirst(cell);

		if (strcmp(schema, "$user") == 0)
		{
			if (!has_own_schema(role_name, role))
				continue;
			schema = role_name;
		}
		if (strcmp(schema, "pg_catalog") != 0 && strcmp(schema, "pg_temp") != 0)
			appendStringInfo(&whole, ", %s", quote_identifier(schema));
	}
	appendStringInfoString(&whole, ", pg_temp");
	return whole.data;
}

/*
 * Sets what code of a deployment goes by that runs with the rights of the owner
 * of its people, until the end of the current nest level of settings: the owner's
 * search_path, and in a worker some settings of the database.  In a transaction.
 */
void
session_give_back(Oid owner)
{
	for (int i = 0; i < lengthof(given_back); i++)
	{
		const Setting *setting = find_setting(put_aside, nput_aside, given_back[i]);

		if (setting == NULL)
			setting = find_setting(server_settings, nserver_settings, given_back[i]);
		/* a value that is no longer one is left out, as at the start of a session */
		if (setting != NULL && setting->value != NULL)
			(void) set_config_option(setting->name, setting->value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
									 DEBUG1, false);
	}
	set_for_now("search_path", search_path_for(owner));
	set_for_now("row_security", "off");
}
