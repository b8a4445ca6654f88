/*
 * seal.h
 *	  Seals secrets with AES-256-GCM, and opens what others sealed with RSA for this server.
 */
#ifndef MINGA_ROSTER_SEAL_H
#define MINGA_ROSTER_SEAL_H

#include "postgres.h"

/* So much can be sealed for a key pair, and so long it is then. */
#define KEY_PAIR_BYTES 512
#define KEY_PAIR_OVERHEAD 66

extern char *seal_value(const char *binding, const char *value, Size *sealed_len);
extern char *unseal_value(const char *binding, const char *sealed, Size sealed_len, bool or_null);
extern char *reseal_value(const char *binding, const char *sealed, Size sealed_len, Size *resealed_len);

extern char *key_pair_make(char **public_key);
extern char *key_pair_open(const char *private_key, const char *sent, Size *opened_len);

extern char *rsa_signature(const char *private_key, const char *text, Size *len);

#endif							/* MINGA_ROSTER_SEAL_H */
