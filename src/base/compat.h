/*
 * compat.h
 *	  What differs between PostgreSQL 15 and 18, and nothing else.
 */
#ifndef MINGA_ROSTER_COMPAT_H
#define MINGA_ROSTER_COMPAT_H

#include "postgres.h"

#include "catalog/pg_proc.h"
#include "common/jsonapi.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "nodes/parsenodes.h"
#include "parser/parse_relation.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#if PG_VERSION_NUM < 150000
#error "minga_roster needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * What others may see of the library is marked since 16, its SQL functions too;
 * before, the server's headers leave that to the compiler.  To be used in place of
 * PG_FUNCTION_INFO_V1, and before PG_MODULE_MAGIC.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif
#define ROSTER_FUNCTION(name) \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

/* A module may tell its name and version since 18: pg_get_loaded_modules(). */
#if PG_VERSION_NUM >= 180000
#define ROSTER_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "minga_roster", .version = ROSTER_VERSION)
#else
#define ROSTER_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* Semantic actions of the JSON parser return a verdict since 16. */
#if PG_VERSION_NUM >= 160000
typedef JsonParseErrorType JsonActionResult;
#define JSON_ACTION_OK return JSON_SUCCESS
#else
typedef void JsonActionResult;
#define JSON_ACTION_OK return
#endif

/* A prefix since 18. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* makeJsonLexContextCstringLen fills a context given to it since 17. */
static inline JsonLexContext *
compat_json_lex_context(char *json, size_t len)
{
#if PG_VERSION_NUM >= 170000
	return makeJsonLexContextCstringLen(NULL, json, len, PG_UTF8, true);
#else
	return makeJsonLexContextCstringLen(json, len, PG_UTF8, true);
#endif
}

/* What a JSON string, quotes included, stands for; the parser has found it valid.  palloc'd. */
static inline char *
compat_json_unescape(const char *string, size_t len)
{
	JsonLexContext *lex = compat_json_lex_context((char *) string, len);
	char	   *value;

	json_lex(lex);
	value = pstrdup(lex->strval->data);
#if PG_VERSION_NUM >= 170000
	freeJsonLexContext(lex);
#else
	pfree(lex->strval->data);
	pfree(lex->strval);
	pfree(lex);
#endif
	return value;
}

/* Whose right to a relation of the query counts, unless that is settled: beside the range table since 16. */
static inline void
compat_check_as(const Query *query, RangeTblEntry *relation, Oid role)
{
#if PG_VERSION_NUM >= 160000
	RTEPermissionInfo *info = getRTEPermissionInfo(query->rteperminfos, relation);

	if (!OidIsValid(info->checkAsUser))
		info->checkAsUser = role;
#else
	(void) query;
	if (!OidIsValid(relation->checkAsUser))
		relation->checkAsUser = role;
#endif
}

/* CreateWaitEventSet takes a resource owner since 17; NULL leaves freeing to us. */
static inline WaitEventSet *
compat_create_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

/* All settings; the array is the server's. */
static inline struct config_generic **
compat_guc_variables(int *nvariables)
{
#if PG_VERSION_NUM >= 160000
	return get_guc_variables(nvariables);
#else
	*nvariables = GetNumConfigOptions();
	return get_guc_variables();
#endif
}

/* Whether this backend holds the lock exclusively. */
static inline bool
compat_lock_is_held(const LOCKTAG *tag)
{
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(tag, ExclusiveLock, false);
#else
	return LockHeldByMe(tag, ExclusiveLock);
#endif
}

/* Before 16 a role with CREATEROLE can make itself a member of any role that is no superuser. */
#define CREATEROLE_REACHES_ALL_ROLES (PG_VERSION_NUM < 160000)

/* Whether the role has EXECUTE on the function. */
static inline bool
compat_may_execute(Oid function, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK;
#else
	return pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

/* Runs a started query to its end; "once" is no argument since 18. */
static inline void
compat_executor_run(QueryDesc *query)
{
#if PG_VERSION_NUM >= 180000
	ExecutorRun(query, ForwardScanDirection, 0);
#else
	ExecutorRun(query, ForwardScanDirection, 0, true);
#endif
}

/* The status of a backend by its index, from 1 to pgstat_fetch_stat_numbackends(). */
static inline const PgBackendStatus *
compat_backend_status(int index)
{
#if PG_VERSION_NUM >= 160000
	LocalPgBackendStatus *local = pgstat_get_local_beentry_by_index(index);
#else
	LocalPgBackendStatus *local = pgstat_fetch_stat_local_beentry(index);
#endif

	return local == NULL ? NULL : &local->backendStatus;
}

#endif							/* MINGA_ROSTER_COMPAT_H */
