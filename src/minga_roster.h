/*
 * minga_roster.h
 *	  Types and functions shared between the files of minga_roster.
 *
 * Prototypes are grouped by the file that holds them.  Nothing of libcurl or
 * OpenSSL appears here: transfer.h is the seam to libcurl, secret.c keeps
 * OpenSSL to itself.
 */
#ifndef MINGA_ROSTER_H
#define MINGA_ROSTER_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

/* Names of connections, in bytes (the CHECK on connections says the same). */
#define CONNECTION_NAME_MAX 63

/* Tells errors in our words from those of the server and of others. */
#undef TEXTDOMAIN
#define TEXTDOMAIN "minga_roster"

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
	char	   *sis;
	char	   *base_url;		/* up to and including /v1p1, no trailing slash */
	RosterAuth	auth;
	char	   *token_url;		/* NULL but for AUTH_OAUTH2 */
	char	   *scope;			/* or NULL */
	char	   *client_id;		/* or NULL for AUTH_BEARER */
	char	   *credentials_ended;	/* credentials_expire where that has passed, else NULL */
	char	   *app_name;		/* or NULL */
	char	   *school_id;
	bool		parent_contact;
	bool		campus_metadata;	/* as sis.campus_metadata */
	int			page_size;
	int			max_requests;
	char	   *collections;	/* jsonb of the preset, as text */
} RosterConnection;

typedef enum RunKind
{
	RUN_TEST,
	RUN_DIAGNOSE,
	RUN_FETCH,
	RUN_PREVIEW,
	RUN_SYNC,
	RUN_APPROVE,
	RUN_APPLY,
	RUN_UNDO,
	RUN_MAIL,
	RUN_DUTY,					/* no run row: what roster_run_due starts */
	RUN_CANCEL					/* no run row of its own: cancels the order's run */
} RunKind;

/*
 * The run that a worker works on, with the figures that it has gathered since
 * the last store_progress.
 */
typedef struct RosterRun
{
	int64		run;
	RunKind		kind;
	char		connection[CONNECTION_NAME_MAX + 1];
	int			pages;
	int64		rows_staged;
	int64		rows_expected;	/* -1: not known */
	int			requests;
	int			retries;
	int64		bytes;
	TimestampTz progress_at;	/* when progress was stored last */
	TimestampTz asks_until;		/* when the SIS is asked no longer; 0: not asked yet */
} RosterRun;

/* in minga_roster.c */
extern int	roster_max_workers;
extern char *roster_key_file;
extern char *roster_smtp_url;
extern char *roster_smtp_user;
extern char *roster_smtp_from;
extern char *roster_smtp_ca_file;
extern char *roster_ca_file;
extern int	roster_request_timeout;
extern char *roster_proxy;
extern bool roster_insecure_loopback;
extern int	roster_lock_timeout;
extern int	roster_merge_timeout;
extern char *roster_allowed_hosts;
extern int	roster_max_fetch_rows;
extern int	roster_max_fetch_megabytes;
extern TimestampTz roster_clock_now(void);
extern char *roster_origin(void);

/* in connection.c */
extern RosterConnection *load_connection(const char *name);

/* in worker.c */
extern PGDLLEXPORT void roster_worker_main(Datum main_arg);

/* in run_row.c */
extern bool try_begin_worker_transaction(void);
extern void begin_worker_transaction(void);
extern bool begin_worker_transaction_if_none(void);
extern void commit_worker_transaction(void);
extern void abort_worker_transaction(void);
extern void store_progress(RosterRun *run, bool force);
extern void set_phase(RosterRun *run, const char *phase);

/* in secret.c */
extern char *secret_origins(const char *base_url, const char *token_url);
extern char *secret_binding(const char *row_id, const char *connection, const char *origins);
extern char *load_secret(const char *connection, const char *origins);
extern char *seal_value(const char *binding, const char *value, Size *sealed_len);
extern void wipe_with_context(char *value, Size size);
extern char *unseal_value(const char *binding, const char *sealed, Size sealed_len, bool or_null);

/* in fetch.c */
extern void fetch_roster(RosterConnection *connection, RosterRun *run);

/* in test_connection.c */
extern void test_connection(RosterConnection *connection, RosterRun *run);

/* in diagnose.c */
extern void diagnose_connection(RosterConnection *connection, RosterRun *run);

/* in outbox.c */
extern void send_waiting_mail(void);
extern void send_test_mail(RosterRun *run);

#endif							/* MINGA_ROSTER_H */
