/*
 * memory.h
 *	  Secrets in memory: out of core files, and wiped.
 */
#ifndef MINGA_ROSTER_MEMORY_H
#define MINGA_ROSTER_MEMORY_H

#include "postgres.h"

extern void never_dump_core(void);
extern void wipe_with_context(char *value, Size size);

#endif							/* MINGA_ROSTER_MEMORY_H */
