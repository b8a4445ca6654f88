/*
 * json_scan.h
 *	  JSON taken apart in one pass.
 */
#ifndef MINGA_ROSTER_JSON_SCAN_H
#define MINGA_ROSTER_JSON_SCAN_H

#include "postgres.h"

#include "common/jsonapi.h"

#define JSON_NESTING_MAX 64

/* A string, without its quotes, or another scalar, as it is written. */
typedef struct JsonToken
{
	JsonTokenType type;
	const char *start;
	int			len;
	bool		escaped;		/* a string with a backslash in it */
} JsonToken;

/* What is called on the way. */
typedef struct JsonActions
{
	void		(*object_start) (void *state, const char *start);
	void		(*object_end) (void *state, const char *end);
	void		(*array_start) (void *state, const char *start);
	void		(*array_end) (void *state, const char *end);
	bool		(*field) (void *state, const JsonToken *key);	/* false: its value is passed over */
	void		(*scalar) (void *state, const JsonToken *value);
} JsonActions;

typedef enum JsonVerdict
{
	JSON_IS_WHOLE,
	JSON_BREAKS_OFF,			/* it ends before its time */
	JSON_IS_WRONG,
	JSON_IS_TOO_DEEP			/* more than JSON_NESTING_MAX objects and arrays are open */
} JsonVerdict;

extern JsonVerdict json_scan(const char *json, size_t len, const JsonActions *actions, void *state, size_t *place);

#endif							/* MINGA_ROSTER_JSON_SCAN_H */
