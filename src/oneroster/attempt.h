/*
 * attempt.h
 *	  What a first page is asked for with, to find out what it is refused for.
 */
#ifndef MINGA_ROSTER_ATTEMPT_H
#define MINGA_ROSTER_ATTEMPT_H

#include "postgres.h"

#include "oneroster/client.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/page.h"

typedef enum AttemptStep
{
	ATTEMPT_LEAST,				/* few rows, no fields, no order */
	ATTEMPT_AGAIN,				/* as at first: it may have passed */
	ATTEMPT_FIELDS,				/* no fields */
	ATTEMPT_SMALL,				/* few rows */
	ATTEMPT_HALF,				/* half of the rows, and half of these, ... */
	ATTEMPT_SORT				/* no order */
} AttemptStep;

typedef struct Attempt
{
	int			wanted;			/* rows asked for at first */
	AttemptStep step;			/* the one to be made */
	int			limit;
	int			flags;
	bool		helped;
} Attempt;

extern void begin_attempts(Attempt *attempt, int wanted);
extern bool judge_attempt(ServerFacts *facts, Attempt *attempt, bool answered);
extern bool is_page_there(const PageReader *reader, const RosterFault *fault, bool with_rows);
extern bool find_out_refusal(RosterClient *client, const PageReader *reader, int wanted, bool with_rows);

#endif							/* MINGA_ROSTER_ATTEMPT_H */
