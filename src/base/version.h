/*
 * version.h
 *	  Whether the schema is of the library's version.
 */
#ifndef MINGA_ROSTER_VERSION_H
#define MINGA_ROSTER_VERSION_H

extern void version_check(void);

#endif							/* MINGA_ROSTER_VERSION_H */
