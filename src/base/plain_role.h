/*
 * plain_role.h
 *	  Roles whose rights code of a deployment may run with.
 */
#ifndef MINGA_ROSTER_PLAIN_ROLE_H
#define MINGA_ROSTER_PLAIN_ROLE_H

#include "postgres.h"

extern char *more_than_plain(Oid role);

#endif							/* MINGA_ROSTER_PLAIN_ROLE_H */
