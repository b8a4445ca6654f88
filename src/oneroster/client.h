/*
 * client.h
 *	  The OneRoster client: authorized GETs of one connection, with retries.
 */
#ifndef MINGA_ROSTER_CLIENT_H
#define MINGA_ROSTER_CLIENT_H

#include "common/cryptohash.h"

#include "base/compat.h"
#include "minga_roster.h"
#include "net/transfer.h"

/* 20,000 users or more; a page and its copy without bad characters leave the worker well below 64 MB whatever a server sends. */
#define PAGE_MAX_BYTES (20 * 1024 * 1024)

/* How client credentials go to a token endpoint. */
typedef enum CredentialsForm
{
	CREDENTIALS_BASIC,			/* HTTP Basic, as they are */
	CREDENTIALS_BODY,			/* in the form */
	CREDENTIALS_ENCODED_BASIC	/* HTTP Basic, form-encoded first (RFC 6749, 2.3.1) */
} CredentialsForm;

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
	bool		broke_off;		/* of a page: it ends too early, and may be whole when asked for again */
} ClientFault;

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
	ClientFault *fault;			/* once it has ended: why there is no answer, or NULL; lives as long as the GET */
	HttpResponse response;		/* else the answer, whatever its status */
} ClientGet;

/* Whether a page may begin inside of what is known of a list. */
typedef enum OverlapFact
{
	OVERLAP_GIVEN,				/* or not known */
	OVERLAP_REFUSED,
	OVERLAP_EMPTY				/* an empty page, which then proves nothing */
} OverlapFact;

/* What the server is known to refuse (facts.c). */
typedef struct ServerFacts
{
	bool		no_fields;
	bool		no_sort;
	bool		no_order;		/* orderBy=desc is refused or ignored */
	int			limit;			/* the largest page; 0: not known */
	OverlapFact overlap;
} ServerFacts;

/* How a page is asked for, beside what the facts say. */
#define ASK_WITHOUT_FIELDS 1
#define ASK_WITHOUT_SORT 2
#define ASK_FROM_END 4			/* in falling order */

/* Lives as long as the memory context that was current at client_open. */
typedef struct RosterClient
{
	MemoryContext context;
	RosterConnection *connection;
	RosterRun  *run;			/* its requests, retries, bytes are counted up */
	TransferPool *pool;
	char	   *token;			/* what authorizes or signs; NULL: not asked for yet */
	TimestampTz token_expires_at;	/* DT_NOEND for a client secret */
	int			token_lifetime; /* seconds, as given with the latest token; 0: not said */
	CredentialsForm credentials_sent;	/* how they got the last token */
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
	TimestampTz run_until;		/* when all waits end with an error */
	ClientFault *run_until_fault;
} RosterClient;

/* in client.c */
extern RosterClient *client_open(RosterConnection *connection, RosterRun *run);
extern char *client_url(RosterClient *client, const char *path, int limit, int64 offset, int flags);
extern void client_try(RosterClient *client, const HttpRequest *request, HttpResponse *response);
extern void client_perform(RosterClient *client, const HttpRequest *request, HttpResponse *response);
extern ClientGet *client_begin_get(RosterClient *client, const char *url, Size max_bytes, bool slow_is_final);
extern void client_wait(RosterClient *client, bool block);
extern void client_wait_for_all(RosterClient *client);
extern bool client_try_again(RosterClient *client, ClientGet *get);
extern void client_count_rows(RosterClient *client, int rows);
extern bool client_get_has_ended(const ClientGet *get);
extern bool client_was_refused(const HttpResponse *response);
extern void client_forget_revision(RosterClient *client);
extern void client_end_get(ClientGet *get);
pg_noreturn extern void client_raise(const ClientFault *fault);
extern ClientFault *client_fault(int sqlstate, const char *message, const char *detail, const char *hint);
extern ClientFault *client_transfer_fault(const char *url, const HttpResponse *response);
extern ClientFault *client_status_fault(RosterClient *client, const char *url, const HttpResponse *response);

/* in oauth2.c */
extern ClientFault *client_authorize(RosterClient *client, bool renew);
extern char *client_authorization(RosterClient *client, const char *method, const char *url);
extern ClientFault *client_refusal(RosterClient *client, const HttpResponse *response, const char *found);

/* in oauth1.c */
extern char *oauth1_authorization(pg_cryptohash_type hash, const char *client_id, const char *secret,
								  const char *method, const char *url);

#endif							/* MINGA_ROSTER_CLIENT_H */
