/*
 * status.c
 *	  connection_status: the status of one connection, for the view roster_status.
 *
 * The view asks for each connection that its query wants.  The first is answered
 * by itself, so that one of thousands costs little.  With the second, all are
 * looked up at once and kept until the query ends.
 *
 * What it must survive: a query in the middle of which the current user changes,
 * who must not get what was kept for another one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/connection.h"
#include "base/door.h"
#include "base/error.h"

ROSTER_FUNCTION(roster_connection_status);

/* A connection with the row of its status. */
typedef struct KeptStatus
{
	char		connection[CONNECTION_NAME_MAX + 1];
	HeapTuple	row;
} KeptStatus;

/* What a query has been answered; lives as long as the function's FmgrInfo. */
typedef struct StatusQuery
{
	Oid			caller;
	TupleDesc	columns;
	int			calls;
	HTAB	   *kept;			/* of all connections that the caller sees, from the second call on */
} StatusQuery;

/* Keeps the rows that SPI has just found. */
static void
keep_rows(StatusQuery *query, MemoryContext owner)
{
	HASHCTL		control = {.keysize = CONNECTION_NAME_MAX + 1,.entrysize = sizeof(KeptStatus),.hcxt = owner};
	bool		found;

	query->kept = hash_create("minga_roster status", 256, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		KeptStatus *kept = hash_search(query->kept, SPI_getvalue(row, SPI_tuptable->tupdesc, 1), HASH_ENTER, &found);
		MemoryContext caller = MemoryContextSwitchTo(owner);

		kept->row = heap_copytuple(row);
		MemoryContextSwitchTo(caller);
	}
}

/* Asks for one connection, or for all and keeps what is found.  The one's row, palloc'd by the caller's context. */
static HeapTuple
look_up(StatusQuery *query, MemoryContext owner, Datum connection, bool all)
{
	static SPIPlanPtr plan = NULL;
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {connection};
	HeapTuple	row = NULL;

	SPI_connect();
	if (plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare("SELECT * FROM minga_roster_internal.do_connection_status($1)", 1, types);

		SPI_keepplan(made);
		plan = made;
	}
	SPI_execute_plan(plan, values, all ? "n" : " ", true, 0);
	if (all)
		keep_rows(query, owner);
	else if (SPI_processed > 0)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		row = heap_copytuple(SPI_tuptable->vals[0]);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return row;
}

/* Behind the door. */
static Datum
find_status(FunctionCallInfo fcinfo, void *arg)
{
	StatusQuery *query = arg;
	HeapTuple	row = look_up(query, fcinfo->flinfo->fn_mcxt, PG_GETARG_DATUM(0), query->calls > 1);

	return row == NULL ? (Datum) 0 : heap_copy_tuple_as_datum(row, query->columns);
}

/* connection_status(connection): the row of roster_status; NULL for a connection that the caller does not see. */
Datum
roster_connection_status(PG_FUNCTION_ARGS)
{
	StatusQuery *query = fcinfo->flinfo->fn_extra;
	KeptStatus *kept;
	Datum		status;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (query == NULL || query->caller != GetUserId())
	{
		MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		query = fcinfo->flinfo->fn_extra = palloc0(sizeof(StatusQuery));
		query->caller = GetUserId();
		if (get_call_result_type(fcinfo, NULL, &query->columns) != TYPEFUNC_COMPOSITE)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("function returning record called in context that cannot accept type record")));
		BlessTupleDesc(query->columns);
		MemoryContextSwitchTo(caller);
	}
	query->calls++;
	if (query->kept == NULL)
	{
		status = door_pass(fcinfo, find_status, query);
		if (status != (Datum) 0)
			PG_RETURN_DATUM(status);
	}
	if (query->kept != NULL && VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0)) <= CONNECTION_NAME_MAX)
	{
		kept = hash_search(query->kept, TextDatumGetCString(PG_GETARG_DATUM(0)), HASH_FIND, NULL);
		if (kept != NULL)
			PG_RETURN_DATUM(heap_copy_tuple_as_datum(kept->row, query->columns));
	}
	PG_RETURN_NULL();
}
