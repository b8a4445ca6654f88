/*
 * oauth1.h
 *	  Signatures of OAuth 1.0a.
 */
#ifndef MINGA_ROSTER_OAUTH1_H
#define MINGA_ROSTER_OAUTH1_H

#include "postgres.h"

#include "common/cryptohash.h"

extern char *oauth1_authorization(pg_cryptohash_type hash, const char *client_id, const char *secret,
								  const char *method, const char *url);

#endif							/* MINGA_ROSTER_OAUTH1_H */
