/*
 * announce.h
 *	  Tells those who LISTEN that a run ended.
 */
#ifndef MINGA_ROSTER_ANNOUNCE_H
#define MINGA_ROSTER_ANNOUNCE_H

#include "postgres.h"

extern void announce_ends(void);
extern void announce_noted_ends(void);

#endif							/* MINGA_ROSTER_ANNOUNCE_H */
