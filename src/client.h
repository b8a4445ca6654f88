/*
 * client.h
 *	  The OneRoster client: authorised GETs of one connection, with retries.
 */
#ifndef MINGA_ROSTER_CLIENT_H
#define MINGA_ROSTER_CLIENT_H

#include "compat.h"
#include "minga_roster.h"
#include "transfer.h"

/* Lives as long as the memory context that was current at client_open. */
typedef struct RosterClient
{
	MemoryContext context;
	RosterConnection *connection;
	RosterRun  *run;			/* its requests, retries, bytes are counted up; may be NULL */
	TransferPool *pool;
	char	   *token;			/* or NULL: not asked for yet */
	TimestampTz token_expires_at;
	int			token_lifetime; /* seconds, as given with the latest token; 0: not said */
	bool		credentials_in_body;	/* the server refused HTTP Basic */
} RosterClient;

/*
 * A fault as a person has to hear of it, also the form in which a connection
 * test shows it.  palloc'd.
 */
typedef struct ClientFault
{
	int			sqlstate;
	char	   *message;		/* primary message, error style guide */
	char	   *detail;
	char	   *hint;			/* what to do, and whose side it is on */
} ClientFault;

/* in client.c */
extern RosterClient *client_open(RosterConnection *connection, RosterRun *run);
extern char *client_url(RosterClient *client, const char *path, int limit, int64 offset);
extern void client_perform(RosterClient *client, const HttpRequest *request, bool authorized, HttpResponse *response);
extern ClientFault *client_try_get(RosterClient *client, const char *url, HttpResponse *response);
pg_noreturn extern void client_raise(const ClientFault *fault);
extern ClientFault *client_fault(int sqlstate, const char *message, const char *detail, const char *hint);
extern ClientFault *client_transfer_fault(const char *url, const HttpResponse *response);
extern ClientFault *client_status_fault(RosterClient *client, const char *url, const HttpResponse *response);

/* in oauth.c */
extern ClientFault *client_authorize(RosterClient *client, bool renew);
extern char *client_authorization(RosterClient *client, const char *method, const char *url);

#endif							/* MINGA_ROSTER_CLIENT_H */
