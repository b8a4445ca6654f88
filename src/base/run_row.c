/*
 * run_row.c
 *	  The row of a run: what kinds there are, how a worker puts it on record, tells
 *	  how far it is, and closes it.
 *
 * What it must survive: a lock on the extension's tables.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/run_row.h"
#include "base/transaction.h"

static const char *const kind_names[] = {
	"test", "diagnose", "fetch", "preview", "sync", "approve", "apply", "undo", "mail"
};

const char *
run_kind_name(RunKind kind)
{
	return kind_names[kind];
}

bool
run_kind_of(const char *name, RunKind *kind)
{
	for (int i = RUN_TEST; i <= RUN_UNDO; i++)
	{
		if (strcmp(name, kind_names[i]) == 0)
		{
			*kind = (RunKind) i;
			return true;
		}
	}
	return false;
}

/* Whether runs of the kind ask the SIS; the others go on from what an earlier run has stored. */
bool
run_kind_reads_roster(RunKind kind)
{
	return kind == RUN_TEST || kind == RUN_DIAGNOSE || kind == RUN_FETCH || kind == RUN_PREVIEW || kind == RUN_SYNC;
}

/* Whether runs of the kind read or write people, so that no other run of the site may work at that time. */
bool
run_kind_holds_site(RunKind kind)
{
	return kind != RUN_TEST && kind != RUN_MAIL;
}

/* Whether runs of the kind read and write people as the last of their steps. */
bool
run_kind_writes_people(RunKind kind)
{
	return run_kind_holds_site(kind) && kind != RUN_DIAGNOSE && kind != RUN_FETCH;
}

/*
 * Writes the figures gathered so far to the run's row, at most once a second
 * unless forced.  In the open transaction, or in one of its own.
 */
void
store_progress(RosterRun *run, bool force)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		own_transaction;
	Oid			types[] = {INT8OID, INT4OID, INT8OID, INT8OID, INT4OID, INT4OID, INT8OID};
	Datum		values[7];
	char		nulls[] = "       ";

	if (!force && !TimestampDifferenceExceeds(run->progress_at, now, 1000))
		return;
	run->progress_at = now;
	own_transaction = begin_worker_transaction_if_none();
	values[0] = Int64GetDatum(run->run);
	values[1] = Int32GetDatum(run->pages);
	values[2] = Int64GetDatum(run->rows_staged);
	values[3] = Int64GetDatum(run->rows_expected);
	if (run->rows_expected < 0)
		nulls[3] = 'n';
	values[4] = Int32GetDatum(run->requests);
	values[5] = Int32GetDatum(run->retries);
	values[6] = Int64GetDatum(run->bytes);
	execute_statement("UPDATE minga_roster.runs SET pages = $2, rows_staged = $3, rows_expected = $4, requests = $5, "
					  "retries = $6, bytes = $7 WHERE run = $1",
					  7, types, values, nulls);
	if (own_transaction)
		commit_worker_transaction();
}

/* Names the phase in the run's row and in pg_stat_activity. */
void
set_phase(RosterRun *run, const char *phase)
{
	bool		own_transaction = begin_worker_transaction_if_none();
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(run->run), CStringGetTextDatum(phase)};
	char		activity[64];

	execute_statement("UPDATE minga_roster.runs SET phase = $2 WHERE run = $1", 2, types, values, NULL);
	if (own_transaction)
		commit_worker_transaction();
	snprintf(activity, sizeof(activity), "minga_roster: run " INT64_FORMAT ", %s", run->run, phase);
	pgstat_report_activity(STATE_RUNNING, activity);
}

/*
 * Closes the run's row.  In the open transaction, or in one of its own.  Holds no
 * cancels, since a lock could then be waited for without an end.
 */
void
close_run(int64 run, const char *state, const char *sqlstate, const char *error, const char *detail, const char *hint)
{
	bool		own_transaction;
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	const char *texts[] = {NULL, state, sqlstate, error, detail, hint};
	Datum		values[6];
	char		nulls[] = "      ";

	own_transaction = begin_worker_transaction_if_none();
	values[0] = Int64GetDatum(run);
	for (int i = 1; i < 6; i++)
	{
		if (texts[i] == NULL)
			nulls[i] = 'n';
		else
			values[i] = CStringGetTextDatum(texts[i]);
	}
	execute_statement("SELECT minga_roster_internal.close_run($1, $2, $3, $4, $5, $6)", 6, types, values, nulls);
	if (own_transaction)
		commit_worker_transaction();
}

/* Whether a row of that run is there; a caller in need puts a run in the queue itself. */
bool
run_is_recorded(int64 run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run)};
	bool		found;

	begin_worker_transaction();
	execute_statement("SELECT FROM minga_roster.runs WHERE run = $1", 1, types, values, NULL);
	found = SPI_processed > 0;
	commit_worker_transaction();
	return found;
}

/* Puts a run on record; of_run is 0 unless it is of another one.  In a transaction of its own. */
void
insert_run(int64 run, RunKind kind, const char *connection, int64 of_run, Oid requested_by, const char *state)
{
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, INT8OID, TEXTOID, NAMEOID};
	Datum		values[6];
	char		nulls[] = "      ";
	NameData	role_name;
	char	   *role;

	begin_worker_transaction();
	role = GetUserNameFromId(requested_by, true);
	namestrcpy(&role_name, role == NULL ? "a dropped role" : role);
	values[0] = Int64GetDatum(run);
	values[1] = CStringGetTextDatum(connection);
	values[2] = CStringGetTextDatum(run_kind_name(kind));
	values[3] = Int64GetDatum(of_run);
	if (of_run == 0)
		nulls[3] = 'n';
	values[4] = CStringGetTextDatum(state);
	values[5] = NameGetDatum(&role_name);
	execute_statement("SELECT minga_roster_internal.insert_run($1, $2, $3, $4, $5, $6)", 6, types, values, nulls);
	commit_worker_transaction();
}
