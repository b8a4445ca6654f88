/*
 * compat.h
 *	  What differs between PostgreSQL 15 and 18, and nothing else.
 */
#ifndef MINGA_ROSTER_COMPAT_H
#define MINGA_ROSTER_COMPAT_H

#include "postgres.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
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

/* The same for a parse that copies neither keys nor strings. */
static inline JsonLexContext *
compat_json_lex_context_raw(char *json, size_t len)
{
#if PG_VERSION_NUM >= 170000
	return makeJsonLexContextCstringLen(NULL, json, len, PG_UTF8, false);
#else
	return makeJsonLexContextCstringLen(json, len, PG_UTF8, false);
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

#endif							/* MINGA_ROSTER_COMPAT_H */
