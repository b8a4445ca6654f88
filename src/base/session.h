/*
 * session.h
 *	  The settings that our statements go by.
 */
#ifndef MINGA_ROSTER_SESSION_H
#define MINGA_ROSTER_SESSION_H

#include "postgres.h"

extern void session_note_server(void);
extern void session_settle(void);
extern void session_become(Oid role);
extern void session_pin(void);
extern void session_give_back(Oid owner);

#endif							/* MINGA_ROSTER_SESSION_H */
