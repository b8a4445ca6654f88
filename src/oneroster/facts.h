/*
 * facts.h
 *	  What a SIS refuses of the way in which it is asked.
 */
#ifndef MINGA_ROSTER_FACTS_H
#define MINGA_ROSTER_FACTS_H

#include "postgres.h"

#include "base/connection.h"
#include "base/run_row.h"

/* Whether a page may begin inside of what is known of a list. */
typedef enum OverlapFact
{
	OVERLAP_GIVEN,				/* or not known */
	OVERLAP_REFUSED,
	OVERLAP_EMPTY				/* an empty page, which then proves nothing */
} OverlapFact;

/* What the server of a connection is known to refuse. */
typedef struct ServerFacts
{
	RosterConnection *connection;
	RosterRun  *run;			/* that learns */
	bool		no_fields;
	bool		no_sort;
	bool		no_order;		/* orderBy=desc is refused or ignored */
	int			limit;			/* the largest page; 0: not known */
	OverlapFact overlap;
} ServerFacts;

extern void load_facts(ServerFacts *facts);
extern void learn_fact(ServerFacts *facts, const char *fact, const char *value);
extern int	page_size_for(const ServerFacts *facts);

#endif							/* MINGA_ROSTER_FACTS_H */
