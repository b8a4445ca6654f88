/*
 * level.h
 *	  Levels: whether a caller may do what a function does at the site that its
 *	  arguments name.
 */
#ifndef MINGA_ROSTER_LEVEL_H
#define MINGA_ROSTER_LEVEL_H

#include "postgres.h"

#include "fmgr.h"

extern void level_check(FunctionCallInfo fcinfo, Oid caller);

#endif							/* MINGA_ROSTER_LEVEL_H */
