/*
 * run_locks.c
 *	  The locks of runs.  A worker holds those of its run by its session, so that
 *	  they outlast a transaction that fails; SQL takes them for a transaction.
 *
 * What they must survive: a role that takes each advisory lock there is, and a
 * trigger below a sync that lets go of all that its session holds.  They are
 * advisory locks of a class that no function of SQL can name (pg_locks shows
 * objsubid 3; pg_advisory_lock takes 1 and 2), and a merge holds them by its
 * transaction too.
 */
#include "postgres.h"

#include <signal.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/dba.h"
#include "base/error.h"
#include "base/settings.h"
#include "run/run_locks.h"

/* Which advisory locks are ours: field 4 of the tag; and the class of the first kind, field 2. */
#define LOCK_FIELD4 3
#define LOCK_CLASS 0x4D520001

ROSTER_FUNCTION(roster_try_run_lock);
ROSTER_FUNCTION(roster_wait_for_run_lock);
ROSTER_FUNCTION(roster_cancel_worker);

static void
make_tag(LOCKTAG *tag, RunLockKind kind, int64 number)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, LOCK_CLASS + kind, (uint32) number, LOCK_FIELD4);
}

/* Takes a lock for the session, without waiting. */
bool
run_lock_take(RunLockKind kind, int64 number)
{
	LOCKTAG		tag;

	make_tag(&tag, kind, number);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* Lets a lock of the session go; a trigger may have done it before. */
void
run_lock_release(RunLockKind kind, int64 number)
{
	LOCKTAG		tag;

	make_tag(&tag, kind, number);
	if (compat_lock_is_held(&tag))
		LockRelease(&tag, ExclusiveLock, true);
}

/* A slot for a worker, unless as many as may work have one; what the session has is kept, where nothing let it go. */
bool
try_slot(RunLocks *locks)
{
	LOCKTAG		tag;

	make_tag(&tag, LOCK_SLOT, locks->slot);
	if (locks->slot > 0 && compat_lock_is_held(&tag))
		return true;
	locks->slot = 0;
	for (int slot = 1; slot <= roster_max_workers; slot++)
	{
		if (run_lock_take(LOCK_SLOT, slot))
		{
			locks->slot = slot;
			return true;
		}
	}
	return false;
}

void
release_slot(RunLocks *locks)
{
	if (locks->slot > 0)
		run_lock_release(LOCK_SLOT, locks->slot);
	locks->slot = 0;
}

/* The locks of one connection and, where wanted, of its site: both or none. */
bool
try_connection(RunLocks *locks, bool with_site, int connection_number, const char *site)
{
	locks->connection = (uint32) connection_number;
	locks->site = DatumGetUInt32(hash_any((const unsigned char *) site, strlen(site)));
	if (!run_lock_take(LOCK_CONNECTION, locks->connection))
		return false;
	if (with_site && !run_lock_take(LOCK_SITE, locks->site))
	{
		run_lock_release(LOCK_CONNECTION, locks->connection);
		return false;
	}
	locks->connection_held = true;
	locks->site_held = with_site;
	return true;
}

void
release_connection(RunLocks *locks)
{
	if (locks->site_held)
		run_lock_release(LOCK_SITE, locks->site);
	if (locks->connection_held)
		run_lock_release(LOCK_CONNECTION, locks->connection);
	locks->site_held = locks->connection_held = false;
}

static void
keep(RunLockKind kind, int64 number)
{
	LOCKTAG		tag;

	make_tag(&tag, kind, number);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/*
 * Holds the locks of a run by the open transaction too: what the session holds,
 * code of a deployment that runs in it can let go.
 */
void
run_locks_keep(const RunLocks *locks, int64 run)
{
	keep(LOCK_RUN, run);
	if (locks->slot > 0)
		keep(LOCK_SLOT, locks->slot);
	if (locks->connection_held)
		keep(LOCK_CONNECTION, locks->connection);
	if (locks->site_held)
		keep(LOCK_SITE, locks->site);
}

/* Takes for the session again what code of a deployment has let go, if no one else has it by now. */
void
run_locks_retake(const RunLocks *locks, int64 run)
{
	struct
	{
		bool		wanted;
		RunLockKind kind;
		int64		number;
	}			held[] = {
		{true, LOCK_RUN, run},
		{locks->connection_held, LOCK_CONNECTION, locks->connection},
		{locks->site_held, LOCK_SITE, locks->site},
	};
	LOCKTAG		tag;

	for (int i = 0; i < lengthof(held); i++)
	{
		make_tag(&tag, held[i].kind, held[i].number);
		if (held[i].wanted && !compat_lock_is_held(&tag))
			(void) run_lock_take(held[i].kind, held[i].number);
	}
}

/* The kind of lock of that name; throws for another one, and for a caller who may take none. */
static RunLockKind
kind_argument(FunctionCallInfo fcinfo)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	require_dba(fcinfo);
	if (strcmp(name, "run") == 0)
		return LOCK_RUN;
	if (strcmp(name, "connection") == 0)
		return LOCK_CONNECTION;
	if (strcmp(name, "evenings") == 0)
		return LOCK_EVENINGS;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid kind of lock \"%s\"", name),
			 errhint("The kinds are \"run\", \"connection\" and \"evenings\".")));
}

/* try_run_lock(kind, number): takes the lock until the end of the transaction, or says that another one has it. */
Datum
roster_try_run_lock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	make_tag(&tag, kind_argument(fcinfo), PG_GETARG_INT64(1));
	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

/* wait_for_run_lock(kind, number): takes the lock until the end of the transaction, and waits for it. */
Datum
roster_wait_for_run_lock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	make_tag(&tag, kind_argument(fcinfo), PG_GETARG_INT64(1));
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	PG_RETURN_VOID();
}

/* cancel_worker(run): cancels what the process that holds the run's lock is doing; whether one does. */
Datum
roster_cancel_worker(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;
	LockData   *data;
	int			holder = 0;

	require_dba(fcinfo);
	make_tag(&tag, LOCK_RUN, PG_GETARG_INT64(0));
	data = GetLockStatusData();
	for (int i = 0; i < data->nelements && holder == 0; i++)
	{
		if (memcmp(&data->locks[i].locktag, &tag, sizeof(tag)) == 0 && data->locks[i].holdMask != 0)
			holder = data->locks[i].pid;
	}
	PG_RETURN_BOOL(holder != 0 && kill(holder, SIGINT) == 0);
}
