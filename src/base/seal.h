/*
 * seal.h
 *	  Seals secrets with AES-256-GCM.
 */
#ifndef MINGA_ROSTER_SEAL_H
#define MINGA_ROSTER_SEAL_H

#include "postgres.h"

extern char *seal_value(const char *binding, const char *value, Size *sealed_len);
extern char *unseal_value(const char *binding, const char *sealed, Size sealed_len, bool or_null);
extern void wipe_with_context(char *value, Size size);

#endif							/* MINGA_ROSTER_SEAL_H */
