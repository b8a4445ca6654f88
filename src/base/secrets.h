/*
 * secrets.h
 *	  Client secrets and the mail password, sealed in the table secrets.
 */
#ifndef MINGA_ROSTER_SECRETS_H
#define MINGA_ROSTER_SECRETS_H

#include "postgres.h"

extern char *secret_binding(const char *row_id, const char *connection, const char *origins);
extern char *load_secret(const char *connection, const char *origins);

#endif							/* MINGA_ROSTER_SECRETS_H */
