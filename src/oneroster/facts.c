/*
 * facts.c
 *	  What a SIS refuses of the way in which it is asked, found out and remembered.
 *
 * Facts only ever take something away from a request: fields, order, rows, the
 * overlap.  None of them ends a list or proves that one was read whole, so that
 * a server gains nothing by teaching a wrong one.  A fact is kept for a week
 * (fresh_facts) and then learned again where it still holds.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "base/transaction.h"
#include "oneroster/facts.h"

static void
set_fact(ServerFacts *facts, const char *fact, const char *value)
{
	if (strcmp(fact, "fields") == 0)
		facts->no_fields = true;
	else if (strcmp(fact, "sort") == 0)
		facts->no_sort = true;
	else if (strcmp(fact, "order") == 0)
		facts->no_order = true;
	else if (strcmp(fact, "limit") == 0)
		facts->limit = atoi(value);
	else if (strcmp(fact, "overlap") == 0)
		facts->overlap = strcmp(value, "empty") == 0 ? OVERLAP_EMPTY : OVERLAP_REFUSED;
}

/* Loads what is known of the connection's server.  Not inside a transaction. */
void
load_facts(ServerFacts *facts)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(facts->connection->name)};

	begin_worker_transaction();
	execute_statement("SELECT fact, value FROM "
					  "minga_roster_internal.fresh_facts($1)", 1, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		set_fact(facts, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1),
				 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2));
	commit_worker_transaction();
}

/* Keeps a fact, in a transaction of its own: a run that fails has learned it all the same. */
void
learn_fact(ServerFacts *facts, const char *fact, const char *value)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(facts->connection->name), CStringGetTextDatum(fact),
	CStringGetTextDatum(value), Int64GetDatum(facts->run->run)};

	set_fact(facts, fact, value);
	begin_worker_transaction();
	execute_statement("SELECT minga_roster_internal.learn_fact($1, $2, $3, $4)", 4, types, values, NULL);
	commit_worker_transaction();
}

/* Rows to ask for in a page. */
int
page_size_for(const ServerFacts *facts)
{
	int			page_size = facts->connection->page_size;

	return facts->limit > 0 ? Min(page_size, facts->limit) : page_size;
}
