/*
 * scope.h
 *	  Whether a row of a list is the school's.
 */
#ifndef MINGA_ROSTER_SCOPE_H
#define MINGA_ROSTER_SCOPE_H

#include "postgres.h"

#include "oneroster/endpoint.h"
#include "oneroster/row_values.h"

/* How a user of a page stands to the school. */
typedef struct RowJudge
{
	const char *school_id;
	const RosterCollection *collection;
	bool		school_scoped;	/* the endpoint is the school's own */
} RowJudge;

extern bool is_elsewhere(const RowJudge *judge, const PageRow *row);
extern bool is_nowhere(const RowJudge *judge, const PageRow *row);

#endif							/* MINGA_ROSTER_SCOPE_H */
