/*
 * connection.h
 *	  What a run has to know of its connection.
 */
#ifndef MINGA_ROSTER_CONNECTION_H
#define MINGA_ROSTER_CONNECTION_H

#include "postgres.h"

/* Names of connections, in bytes (the CHECK on connections says the same). */
#define CONNECTION_NAME_MAX 63

/* How requests are authorized (connections.auth). */
typedef enum RosterAuth
{
	AUTH_OAUTH2,
	AUTH_OAUTH1_SHA256,
	AUTH_OAUTH1_SHA1,
	AUTH_BEARER
} RosterAuth;

/*
 * A connection as a run needs it: a row of connections with the preset's
 * values where its own are NULL.  Everything is palloc'd in the context that
 * was current at load_connection.
 */
typedef struct RosterConnection
{
	char	   *name;
	int			number;
	char	   *site;
	char	   *base_url;		/* up to and including /v1p1, no trailing slash */
	RosterAuth	auth;
	char	   *token_url;		/* NULL but for AUTH_OAUTH2 */
	char	   *scope;			/* or NULL */
	char	   *client_id;		/* or NULL for AUTH_BEARER */
	char	   *credentials_ended;	/* credentials_expire where that has passed, else NULL */
	char	   *app_name;		/* or NULL */
	char	   *school_id;
	int			page_size;
	char	   *collections;	/* jsonb of the preset, as text */
} RosterConnection;

extern RosterConnection *load_connection(const char *name);

#endif							/* MINGA_ROSTER_CONNECTION_H */
