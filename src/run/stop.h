/*
 * stop.h
 *	  What ends a run before its time.
 */
#ifndef MINGA_ROSTER_STOP_H
#define MINGA_ROSTER_STOP_H

#include "postgres.h"

#include <signal.h>

extern volatile sig_atomic_t worker_terminated; /* by SIGTERM: the worker ends after this run */
extern volatile sig_atomic_t run_canceled;	/* by SIGINT */
extern volatile sig_atomic_t merge_is_late; /* it took longer than it may */

extern void catch_stops(void);
extern void hold_stops(void);
extern void prepare_watch(void);
extern void begin_watch(void);
extern void end_watch(void);
extern void limit_lock_waits(void);
extern void commit_by(const char *mode);
extern void forget_cancel(void);
extern void hold_cancels_for_run(void);
extern void let_cancels_act(void);

#endif							/* MINGA_ROSTER_STOP_H */
