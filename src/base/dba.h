/*
 * dba.h
 *	  The role that the extension's objects belong to, and with whose rights it acts.
 */
#ifndef MINGA_ROSTER_DBA_H
#define MINGA_ROSTER_DBA_H

#include "postgres.h"

#include "fmgr.h"

extern Oid	dba_role(void);
extern bool is_dba(Oid role);
extern void require_dba(FunctionCallInfo fcinfo);

#endif							/* MINGA_ROSTER_DBA_H */
