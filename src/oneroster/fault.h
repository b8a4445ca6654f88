/*
 * fault.h
 *	  A fault as a person has to hear of it.
 */
#ifndef MINGA_ROSTER_FAULT_H
#define MINGA_ROSTER_FAULT_H

#include "postgres.h"

#include "base/compat.h"

/* palloc'd, with its texts. */
typedef struct RosterFault
{
	int			sqlstate;
	char	   *message;		/* primary message, error style guide */
	char	   *detail;
	char	   *hint;			/* what to do, and whose side it is on */
	char	   *words;			/* the SIS's own on it, fit to be read; or NULL */
	bool		broke_off;		/* of a page: it ends too early, and may be whole when asked for again */
} RosterFault;

extern RosterFault *fault_make(int sqlstate, const char *message, const char *detail, const char *hint);
extern RosterFault *fault_copy(const RosterFault *fault);
pg_noreturn extern void fault_raise(const RosterFault *fault);
extern char *fault_detail_of_error(const ErrorData *error);
extern char *fault_sentences(const RosterFault *fault, bool with_words);
extern char *fault_sentences_of_error(const ErrorData *error);

#endif							/* MINGA_ROSTER_FAULT_H */
