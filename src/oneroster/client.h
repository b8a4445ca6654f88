/*
 * client.h
 *	  The OneRoster client: authorized GETs of one connection, with retries.
 */
#ifndef MINGA_ROSTER_CLIENT_H
#define MINGA_ROSTER_CLIENT_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "base/connection.h"
#include "base/run_row.h"
#include "net/http.h"
#include "net/transfer.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/oauth2.h"
#include "oneroster/request.h"

/* One authorized GET with its tries; client.c alone looks inside, but for the last three. */
typedef struct ClientGet
{
	struct RosterClient *client;
	struct ClientGet *next;		/* of the client */
	MemoryContext context;
	MemoryContextCallback release;
	char	   *url;
	Size		max_bytes;
	bool		slow_is_final;
	int			tries;
	int			refusals;		/* 401 */
	int			token_number;	/* that it was sent with */
	long		paused;			/* milliseconds in all */
	TimestampTz due_at;			/* of the next try, where no transfer is under way */
	Transfer   *transfer;
	bool		ended;
	bool		slow;			/* it ended with a time-out or 504, and less at a time may do */
	RosterFault *fault;			/* once it has ended: why there is no answer, or NULL; lives as long as the GET */
	HttpResponse response;		/* else the answer, whatever its status */
} ClientGet;

/* Lives as long as the memory context that was current at client_open. */
typedef struct RosterClient
{
	MemoryContext context;
	RosterConnection *connection;
	RosterRun  *run;			/* its requests, retries, bytes are counted up */
	Requester	requester;
	Authorization authorization;
	ClientGet  *gets;			/* that were begun and not ended */
	int			token_number;	/* counts the tokens that were refused */
	int			token_accepted; /* the newest that something was answered for */
	TimestampTz quiet_until;	/* a server asked for a pause */
	bool		was_asked_to_wait;	/* ... ever */
	char	   *revision;		/* of the key's permissions, of the first answer that told one; or NULL */
	bool		revision_changed;
	bool		an_answer_broke_off;	/* connections may hold the rest of one */
	ServerFacts facts;
	int64		rows;			/* that came */
} RosterClient;

extern RosterClient *client_open(RosterConnection *connection, RosterRun *run);
extern ClientGet *client_begin_get(RosterClient *client, const char *url, Size max_bytes, bool slow_is_final);
extern void client_wait(RosterClient *client, bool block);
extern void client_wait_for_all(RosterClient *client);
extern bool client_try_again(RosterClient *client, ClientGet *get);
extern void client_count_rows(RosterClient *client, int rows);
extern bool client_get_has_ended(const ClientGet *get);
extern void client_forget_revision(RosterClient *client);
extern void client_end_get(ClientGet *get);

#endif							/* MINGA_ROSTER_CLIENT_H */
