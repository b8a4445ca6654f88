/*
 * lock_wait.c
 *	  Waits for locks: how long one may take, and who made it take too long.
 *
 * What it must survive: the wait is over, and forgotten by the server, when its
 * error is handled.  So what is waited for is noted by the signal that ends the
 * wait, and who has it is looked up afterwards.  Of other sessions only process,
 * application, state and times are told: the text of a query may hold people's
 * data.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"
#include "base/lock_wait.h"
#include "base/text.h"

/* So many blockers are named, and looked through on the way to them. */
#define BLOCKERS_NAMED 3
#define BLOCKERS_FOLLOWED 64

ROSTER_FUNCTION(roster_is_locked);

static int	limit_s = 0;
static volatile bool noted = false;
static LOCKTAG noted_tag;
static LOCKMODE noted_mode;

/* No lock is waited for longer than this. */
void
lock_wait_limit(int seconds)
{
	char		limit[16];

	limit_s = seconds;
	snprintf(limit, sizeof(limit), "%ds", seconds);
	SetConfigOption("lock_timeout", limit, PGC_USERSET, PGC_S_SESSION);
}

/* Notes the lock that is being waited for, if any.  Called in signal handlers. */
void
lock_wait_note(void)
{
	LOCK	   *lock = MyProc == NULL ? NULL : MyProc->waitLock;

	if (lock == NULL)
		return;
	noted_tag = lock->tag;
	noted_mode = MyProc->waitLockMode;
	noted = true;
}

void
lock_wait_forget(void)
{
	noted = false;
}

/* What the lock is on, in words; palloc'd.  In a transaction. */
static char *
lock_object(const LOCKTAG *tag)
{
	char	   *name;

	switch ((LockTagType) tag->locktag_type)
	{
		case LOCKTAG_RELATION:
		case LOCKTAG_RELATION_EXTEND:
			name = tag->locktag_field1 != MyDatabaseId ? NULL : get_rel_name(tag->locktag_field2);
			if (name == NULL)
				return pstrdup("a relation");
			return psprintf("relation \"%s\"",
							quote_qualified_identifier(get_namespace_name(get_rel_namespace(tag->locktag_field2)),
													   name));
		case LOCKTAG_TUPLE:
		case LOCKTAG_TRANSACTION:
		case LOCKTAG_VIRTUALTRANSACTION:
		case LOCKTAG_SPECULATIVE_TOKEN:
			return pstrdup("rows that another transaction has changed or locked");
		case LOCKTAG_ADVISORY:
			return pstrdup("an advisory lock");
		default:
			return pstrdup("a lock");
	}
}

/* Who has the noted lock, or waits for it in a way that keeps others from it; 0 is a prepared transaction. */
static List *
holders(void)
{
	LockData   *data = GetLockStatusData();
	List	   *pids = NIL;

	for (int i = 0; i < data->nelements; i++)
	{
		LockInstanceData *lock = &data->locks[i];
		bool		conflicts = lock->waitLockMode != NoLock && DoLockModesConflict(lock->waitLockMode, noted_mode);

		if (memcmp(&lock->locktag, &noted_tag, sizeof(LOCKTAG)) != 0 || lock->pid == MyProcPid)
			continue;
		for (LOCKMODE mode = 1; mode <= MaxLockMode && !conflicts; mode++)
			conflicts = (lock->holdMask & LOCKBIT_ON(mode)) != 0 && DoLockModesConflict(mode, noted_mode);
		if (conflicts)
			pids = list_append_unique_int(pids, lock->pid);
	}
	return pids;
}

/* Those at the root: of each who waits in turn, the ones who are waited for. */
static List *
roots(List *pids)
{
	List	   *found = NIL;

	/* The list grows while it is walked. */
	for (int i = 0; i < list_length(pids) && i < BLOCKERS_FOLLOWED; i++)
	{
		int			pid = list_nth_int(pids, i);
		ArrayType  *blockers = pid == 0 ? NULL
			: DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(pid)));
		int			nblockers = blockers == NULL ? 0 : ArrayGetNItems(ARR_NDIM(blockers), ARR_DIMS(blockers));

		if (nblockers == 0)
			found = list_append_unique_int(found, pid);
		for (int j = 0; j < nblockers; j++)
		{
			int			blocker = ((int32 *) ARR_DATA_PTR(blockers))[j];

			if (blocker != MyProcPid)
				pids = list_append_unique_int(pids, blocker);
		}
	}
	return found;
}

static const char *
state_words(BackendState state)
{
	switch (state)
	{
		case STATE_RUNNING:
		case STATE_FASTPATH:
			return "active";
		case STATE_IDLEINTRANSACTION:
		case STATE_IDLEINTRANSACTION_ABORTED:
			return "idle in transaction";
		default:
			return "idle";
	}
}

/* Appends who the process is. */
static void
append_process(StringInfo detail, int pid)
{
	int			nbackends = pgstat_fetch_stat_numbackends();

	if (pid == 0)
	{
		appendStringInfoString(detail, "a prepared transaction (see pg_prepared_xacts)");
		return;
	}
	appendStringInfo(detail, "process %d", pid);
	for (int i = 1; i <= nbackends; i++)
	{
		const PgBackendStatus *status = compat_backend_status(i);

		if (status == NULL || status->st_procpid != pid)
			continue;
		appendStringInfo(detail, " (application \"%s\", %s", printable(status->st_appname, NAMEDATALEN),
						 state_words(status->st_state));
		if (status->st_xact_start_timestamp != 0)
			appendStringInfo(detail, ", transaction began %s", timestamptz_to_str(status->st_xact_start_timestamp));
		if (status->st_activity_start_timestamp != 0)
			appendStringInfo(detail, ", query began %s", timestamptz_to_str(status->st_activity_start_timestamp));
		appendStringInfoChar(detail, ')');
	}
}

/* What was waited for in vain and who has it, one or two sentences; palloc'd, or NULL.  In a transaction. */
char *
lock_wait_detail(void)
{
	StringInfoData detail;
	List	   *blockers;
	int			named = 0;
	ListCell   *cell;

	if (!noted)
		return NULL;
	noted = false;
	blockers = roots(holders());
	initStringInfo(&detail);
	appendStringInfo(&detail, "It waited %d s for %s.", limit_s, lock_object(&noted_tag));
	if (blockers == NIL)
		appendStringInfoString(&detail, " By now no other session has it.");
	pgstat_clear_backend_activity_snapshot();
	foreach(cell, blockers)
	{
		if (named++ == BLOCKERS_NAMED)
			break;
		appendStringInfoString(&detail, named == 1 ? " It was blocked by " : ", ");
		append_process(&detail, lfirst_int(cell));
	}
	if (list_length(blockers) > BLOCKERS_NAMED)
		appendStringInfo(&detail, " and %d more", list_length(blockers) - BLOCKERS_NAMED);
	if (blockers != NIL)
		appendStringInfoChar(&detail, '.');
	return detail.data;
}

/* is_locked(relation): whether a statement that writes to it would have to wait now. */
Datum
roster_is_locked(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;
	bool		locked;

	require_dba(fcinfo);
	/* a standby writes to nothing */
	if (RecoveryInProgress())
		PG_RETURN_BOOL(false);
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, PG_GETARG_OID(0));
	locked = LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL;
	if (!locked)
		LockRelease(&tag, RowExclusiveLock, false);
	PG_RETURN_BOOL(locked);
}
