/*
 * lock_wait.h
 *	  Waits for locks: how long one may take, and who made it take too long.
 */
#ifndef MINGA_ROSTER_LOCK_WAIT_H
#define MINGA_ROSTER_LOCK_WAIT_H

#include "postgres.h"

extern void lock_wait_limit(int seconds);
extern void lock_wait_note(void);
extern void lock_wait_forget(void);
extern char *lock_wait_detail(void);

#endif							/* MINGA_ROSTER_LOCK_WAIT_H */
