/*
 * clock.h
 *	  The time that evenings, retries and retention go by.
 */
#ifndef MINGA_ROSTER_CLOCK_H
#define MINGA_ROSTER_CLOCK_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/guc.h"

extern TimestampTz roster_clock_now(void);
extern bool roster_check_test_clock(char **newval, void **extra, GucSource source);

#endif							/* MINGA_ROSTER_CLOCK_H */
