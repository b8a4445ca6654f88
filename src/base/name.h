/*
 * name.h
 *	  What of a name is compared.
 */
#ifndef MINGA_ROSTER_NAME_H
#define MINGA_ROSTER_NAME_H

#include "postgres.h"

extern void names_hide(bool are_hidden);
extern text *name_compared(const char *value, int len);

#endif							/* MINGA_ROSTER_NAME_H */
