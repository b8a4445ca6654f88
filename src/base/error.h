/*
 * error.h
 *	  Marks the errors of a file as this extension's own, in words that quote no one
 *	  (redact.c).  To be included by each file that raises some, after postgres.h.
 */
#ifndef MINGA_ROSTER_ERROR_H
#define MINGA_ROSTER_ERROR_H

#undef TEXTDOMAIN
#define TEXTDOMAIN "minga_roster"

#endif							/* MINGA_ROSTER_ERROR_H */
