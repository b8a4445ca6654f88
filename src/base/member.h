/*
 * member.h
 *	  Partitions of the stage, emptied at once.
 */
#ifndef MINGA_ROSTER_MEMBER_H
#define MINGA_ROSTER_MEMBER_H

#include "postgres.h"

extern bool member_can_be_emptied(Oid partition);
extern void member_empty(Oid partition);

#endif							/* MINGA_ROSTER_MEMBER_H */
