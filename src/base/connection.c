/*
 * connection.c
 *	  Loads what a run has to know of its connection.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "base/connection.h"
#include "base/transaction.h"

static char *
column_text(HeapTuple tuple, TupleDesc tupdesc, const char *column, MemoryContext owner)
{
	char	   *value = SPI_getvalue(tuple, tupdesc, SPI_fnumber(tupdesc, column));

	return value == NULL ? NULL : MemoryContextStrdup(owner, value);
}

static RosterAuth
auth_named(const char *name)
{
	static const char *const names[] = {"oauth2", "oauth1_sha256", "oauth1_sha1", "bearer"};
	int			i = 0;

	while (i < AUTH_BEARER && strcmp(names[i], name) != 0)
		i++;
	return (RosterAuth) i;
}

/*
 * The connection of that name, palloc'd in the current memory context.
 * Throws 42704 for one that is unknown or retired.  Runs in the open
 * transaction, or in one of its own where none is open.
 */
RosterConnection *
load_connection(const char *name)
{
	MemoryContext owner = CurrentMemoryContext;
	RosterConnection *connection = palloc0(sizeof(RosterConnection));
	bool		own_transaction = begin_worker_transaction_if_none();
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	HeapTuple	tuple;
	TupleDesc	tupdesc;

	execute_statement("SELECT c.connection, c.number, c.site, c.base_url, c.auth, c.token_url, "
					  "nullif(minga_roster_internal.scope_of(c, s), '') AS scope, c.client_id, c.app_name, "
					  "CASE WHEN c.credentials_expire < "
					  "(minga_roster_internal.clock() AT TIME ZONE "
					  "minga_roster_internal.usable_zone(c.time_zone))::date "
					  "THEN c.credentials_expire END AS credentials_ended, c.school_id, "
					  "coalesce(c.page_size, s.page_size) AS page_size, s.collections "
					  "FROM minga_roster_internal.known_connection($1) AS c "
					  "JOIN minga_roster.sis s USING (sis)",
					  1, types, values, NULL);
	tuple = SPI_tuptable->vals[0];
	tupdesc = SPI_tuptable->tupdesc;
	connection->name = column_text(tuple, tupdesc, "connection", owner);
	connection->number = atoi(column_text(tuple, tupdesc, "number", owner));
	connection->site = column_text(tuple, tupdesc, "site", owner);
	connection->base_url = column_text(tuple, tupdesc, "base_url", owner);
	connection->auth = auth_named(column_text(tuple, tupdesc, "auth", owner));
	connection->token_url = column_text(tuple, tupdesc, "token_url", owner);
	connection->scope = column_text(tuple, tupdesc, "scope", owner);
	connection->client_id = column_text(tuple, tupdesc, "client_id", owner);
	connection->credentials_ended = column_text(tuple, tupdesc, "credentials_ended", owner);
	connection->app_name = column_text(tuple, tupdesc, "app_name", owner);
	connection->school_id = column_text(tuple, tupdesc, "school_id", owner);
	connection->page_size = atoi(column_text(tuple, tupdesc, "page_size", owner));
	connection->collections = column_text(tuple, tupdesc, "collections", owner);
	if (own_transaction)
		commit_worker_transaction();
	MemoryContextSwitchTo(owner);
	return connection;
}
