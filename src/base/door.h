/*
 * door.h
 *	  The door of the extension: who is let in, and with whose rights the
 *	  extension acts for them.
 */
#ifndef MINGA_ROSTER_DOOR_H
#define MINGA_ROSTER_DOOR_H

#include "postgres.h"

#include "fmgr.h"

/* What the extension does for a caller who was let in. */
typedef Datum (*BehindDoor) (FunctionCallInfo fcinfo, void *arg);

extern Datum door_pass(FunctionCallInfo fcinfo, BehindDoor act, void *arg);
extern void door_record(FunctionCallInfo fcinfo);
extern Oid	door_caller(void);
extern void refuse_on_standby(const char *function);
extern Oid	internal_function(const char *name, int count, const Oid *types);

#endif							/* MINGA_ROSTER_DOOR_H */
