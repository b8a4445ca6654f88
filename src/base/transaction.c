/*
 * transaction.c
 *	  The short transactions in which a worker reads and writes, with the rights
 *	  of the extension's role.
 *
 * A transaction that is begun inside another one is a part of that: so steps that
 * each have a transaction of their own are one where nothing is waited for between
 * them.
 *
 * What they must survive: being begun inside a transaction as well as outside of
 * one, DROP EXTENSION between two of them, and code of a deployment that would
 * be another role.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/dba.h"
#include "base/error.h"
#include "base/transaction.h"

#define DEPTH_MAX 4

/* The transactions begun within each other, and the memory context current before each. */
static int	depth = 0;
static MemoryContext contexts_outside[DEPTH_MAX];
static Oid	user_outside = InvalidOid;

/* Plans of execute_statement, kept for the session. */
typedef struct KeptPlan
{
	const char *statement;		/* the key: a literal's address */
	SPIPlanPtr	plan;
} KeptPlan;

static HTAB *kept_plans = NULL;

/*
 * Whether someone who holds the extension's lock may drop it: any role can take it, by ALTER FUNCTION ... DEPENDS ON
 * EXTENSION.
 */
static bool
may_be_dropped(const LOCKTAG *tag)
{
	LockData   *data = GetLockStatusData();

	for (int i = 0; i < data->nelements; i++)
	{
		PGPROC	   *holder;

		if (memcmp(&data->locks[i].locktag, tag, sizeof(LOCKTAG)) != 0 ||
			(data->locks[i].holdMask & LOCKBIT_ON(AccessExclusiveLock)) == 0)
			continue;
		holder = BackendPidGetProc(data->locks[i].pid);
		if (holder != NULL && superuser_arg(holder->roleId))
			return true;
	}
	return false;
}

/*
 * Locks the extension until the end of the transaction, before anything of it:
 * DROP EXTENSION waits for that lock first, and holds no table while a run
 * wants it.  Waits for no one who may not drop it.  False where the extension is
 * not there.
 */
static bool
lock_extension(void)
{
	Oid			extension = get_extension_oid("minga_roster", true);
	LOCKTAG		tag;

	if (!OidIsValid(extension))
		return false;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
	if (LockAcquire(&tag, AccessShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL && may_be_dropped(&tag))
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	AcceptInvalidationMessages();
	/* It may have been dropped while the lock was waited for. */
	return get_extension_oid("minga_roster", true) == extension;
}

/*
 * Until the end of the transaction, deferred triggers included, all that runs
 * has the rights of the extension's role, and can take no others by SET ROLE or
 * SET SESSION AUTHORIZATION.
 */
static void
act_as_dba(void)
{
	user_outside = GetUserId();
	SetUserIdAndSecContext(dba_role(), SECURITY_LOCAL_USERID_CHANGE);
}

/* The same as begin_worker_transaction, unless the extension is not there: false, and no transaction is open. */
bool
try_begin_worker_transaction(void)
{
	if (!IsTransactionState())
		depth = 0;				/* an error ended those before */
	Assert(depth < DEPTH_MAX);
	contexts_outside[depth++] = CurrentMemoryContext;
	if (depth > 1)
	{
		SPI_connect();
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
		return true;
	}
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (!lock_extension())
	{
		CommitTransactionCommand();
		MemoryContextSwitchTo(contexts_outside[--depth]);
		return false;
	}
	act_as_dba();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

/*
 * A short transaction with a snapshot and SPI; the memory context current
 * before is current again after commit_worker_transaction.
 */
void
begin_worker_transaction(void)
{
	if (!try_begin_worker_transaction())
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"minga_roster\" was dropped during the run"),
				 errdetail("What was not committed is undone, and the run's row is gone."),
				 errhint("No action is needed. To use the extension again, create it.")));
}

/* The same for several steps that have transactions of their own: the memory context stays the current one. */
void
begin_worker_steps(void)
{
	MemoryContext caller = CurrentMemoryContext;

	begin_worker_transaction();
	MemoryContextSwitchTo(caller);
}

/* The same where none is open; says whether it opened one. */
bool
begin_worker_transaction_if_none(void)
{
	if (IsTransactionState())
		return false;
	begin_worker_transaction();
	return true;
}

void
commit_worker_transaction(void)
{
	SPI_finish();
	PopActiveSnapshot();
	if (depth == 1)
	{
		CommitTransactionCommand();
		/* an abort does so by itself */
		SetUserIdAndSecContext(user_outside, 0);
		pgstat_report_stat(false);
	}
	else
		CommandCounterIncrement();
	MemoryContextSwitchTo(contexts_outside[--depth]);
}

/* Undoes what the open transaction did instead; not of a part of one. */
void
abort_worker_transaction(void)
{
	Assert(depth == 1);
	AbortCurrentTransaction();
	pgstat_report_stat(false);
	MemoryContextSwitchTo(contexts_outside[--depth]);
}

/* The plan of a statement, made when it comes for the first time. */
static SPIPlanPtr
kept_plan(const char *statement, int nargs, Oid *types)
{
	KeptPlan   *kept;
	bool		found;

	if (kept_plans == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(const char *),.entrysize = sizeof(KeptPlan),.hcxt = TopMemoryContext};

		kept_plans = hash_create("minga_roster statements", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	kept = hash_search(kept_plans, &statement, HASH_FIND, NULL);
	if (kept == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare_cursor(statement, nargs, types, CURSOR_OPT_GENERIC_PLAN);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			return NULL;
		kept = hash_search(kept_plans, &statement, HASH_ENTER, &found);
		kept->plan = plan;
	}
	return kept->plan;
}

/*
 * Executes one statement, a literal, inside the open transaction.  Its plan is
 * kept.  The memory context stays the current one, which SPI by itself would
 * change to one that ends with the transaction.
 */
void
execute_statement(const char *statement, int nargs, Oid *types, Datum *values, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	SPIPlanPtr	plan = kept_plan(statement, nargs, types);

	if (plan == NULL || SPI_execute_plan(plan, values, nulls, false, 0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not execute a statement of minga_roster"),
				 errdetail("The statement was: %s.", statement)));
	MemoryContextSwitchTo(caller);
}
