/*
 * run_row.h
 *	  The row of a run.
 */
#ifndef MINGA_ROSTER_RUN_ROW_H
#define MINGA_ROSTER_RUN_ROW_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "base/connection.h"

typedef enum RunKind
{
	RUN_TEST,
	RUN_DIAGNOSE,
	RUN_FETCH,
	RUN_PREVIEW,
	RUN_SYNC,
	RUN_APPROVE,
	RUN_APPLY,
	RUN_UNDO,
	RUN_MAIL,
	RUN_DUTY,					/* no run row: what roster_run_due starts */
	RUN_CANCEL					/* no run row of its own: cancels the order's run */
} RunKind;

/*
 * The run that a worker works on, with the figures that it has gathered since
 * the last store_progress.
 */
typedef struct RosterRun
{
	int64		run;
	RunKind		kind;
	char		connection[CONNECTION_NAME_MAX + 1];
	int			pages;
	int64		rows_staged;
	int64		rows_expected;	/* -1: not known */
	int			requests;
	int			retries;
	int64		bytes;
	TimestampTz progress_at;	/* when progress was stored last */
	TimestampTz asks_until;		/* when the SIS is asked no longer; 0: not asked yet */
	List	   *unstored;		/* collections that were read and are not yet on record */
	TimestampTz (*while_waiting) (void);	/* called where the run waits for the SIS, outside of transactions, at the
											 * latest at the time that it returned; or NULL */
} RosterRun;

extern const char *run_kind_name(RunKind kind);
extern bool run_kind_of(const char *name, RunKind *kind);
extern bool run_kind_reads_roster(RunKind kind);
extern bool run_kind_holds_site(RunKind kind);
extern bool run_kind_writes_people(RunKind kind);
extern void store_progress(RosterRun *run, bool force);
extern void set_phase(RosterRun *run, const char *phase);
extern void close_run(int64 run, const char *state, const char *sqlstate, const char *error, const char *detail,
					  const char *hint);
extern bool run_is_recorded(int64 run);
extern void insert_run(int64 run, RunKind kind, const char *connection, int64 of_run, Oid requested_by,
					   const char *state);

#endif							/* MINGA_ROSTER_RUN_ROW_H */
