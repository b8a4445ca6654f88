/*
 * origins.h
 *	  Where the secret of a connection may go.
 */
#ifndef MINGA_ROSTER_ORIGINS_H
#define MINGA_ROSTER_ORIGINS_H

#include "postgres.h"

extern char *secret_origins(const char *base_url, const char *token_url);

#endif							/* MINGA_ROSTER_ORIGINS_H */
