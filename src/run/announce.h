/*
 * announce.h
 *	  Tells those who LISTEN that a run ended.
 */
#ifndef MINGA_ROSTER_ANNOUNCE_H
#define MINGA_ROSTER_ANNOUNCE_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void announce_ends(void);
extern void announce_noted_ends(void);
extern void announce_earlier_ends(void);
extern TimestampTz announce_old_ends(void);

#endif							/* MINGA_ROSTER_ANNOUNCE_H */
