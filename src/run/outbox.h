/*
 * outbox.h
 *	  The outbox.
 */
#ifndef MINGA_ROSTER_OUTBOX_H
#define MINGA_ROSTER_OUTBOX_H

#include "postgres.h"

#include "base/run_row.h"

extern void send_waiting_mail(void);
extern void send_test_mail(RosterRun *run);

#endif							/* MINGA_ROSTER_OUTBOX_H */
