/*
 * transfer.h
 *	  The seam to libcurl: requests and mail go in, plain C comes out.
 *
 * No file but transfer*.c sees a header of libcurl.
 */
#ifndef MINGA_ROSTER_TRANSFER_H
#define MINGA_ROSTER_TRANSFER_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * A set of connections kept open between transfers, with its cookies.
 * Freed with the memory context that was current at transfer_open.
 */
typedef struct TransferPool TransferPool;

/* One transfer of a pool. */
typedef struct Transfer Transfer;

/* What went wrong before an answer was there, or that nothing did. */
typedef enum TransferFault
{
	TRANSFER_OK,
	TRANSFER_DNS,				/* the host's name was not found */
	TRANSFER_FORBIDDEN,			/* HTTP: host, port or address that the settings do not allow */
	TRANSFER_UNREACHABLE,		/* HTTP: whatever kept TLS from being secured, but for a certificate */
	TRANSFER_CONNECT,			/* refused, unreachable, reset, broken off */
	TRANSFER_TLS,				/* certificate; of mail, the handshake too */
	TRANSFER_TRUST,				/* which authorities this server trusts cannot be read */
	TRANSFER_PROXY,				/* HTTP: the proxy was not reached */
	TRANSFER_PROXY_REFUSED,		/* HTTP: ... was, and no connection came through it */
	TRANSFER_TIMEOUT,
	TRANSFER_TOO_LARGE,			/* more than max_bytes */
	TRANSFER_LOGIN,				/* SMTP: user or password refused */
	TRANSFER_REFUSED,			/* SMTP: recipient refused for good */
	TRANSFER_PROTOCOL			/* anything else: not HTTP, bad URL, ... */
} TransferFault;

typedef struct HttpRequest
{
	const char *url;
	const char *form;			/* body of a POST, or NULL for a GET */
	const char *authorization;	/* value of the Authorization header, or NULL */
	const char *basic_user;		/* for HTTP Basic, or NULL */
	const char *basic_password;
	Size		max_bytes;		/* of the decoded body */
	bool		alone;			/* on a connection of its own */
} HttpRequest;

typedef struct HttpResponse
{
	TransferFault fault;
	char	   *fault_text;		/* libcurl's words, without URL or secret; NULL for what only the log may tell */
	int			status;
	int			proxy_status;	/* of a proxy's answer to CONNECT, 0: none */
	char	   *body;			/* NUL-terminated; malloc'd, see http_release */
	Size		len;
	char	   *content_type;	/* or NULL */
	char	   *location;		/* of a redirect (never followed), or NULL; any bytes */
	int64		total_count;	/* X-Total-Count, -1 if absent or no number */
	int			retry_after_ms; /* Retry-After, -1 if absent */
	char	   *permission_revision;	/* x-perm-rev, or NULL */
	int64		server_time;	/* Date, in seconds since 1970, -1 if absent or no date */
	int64		elapsed_us;
	/* for the connection test: how far it came, in microseconds from the start, 0 = not reached */
	int64		resolved_us;
	int64		connected_us;
	int64		secured_us;
} HttpResponse;

typedef struct MailMessage
{
	const char *to;
	const char *from;			/* as the header has it: an address, or Name <address> */
	const char *sender;			/* the address in it */
	const char *subject;		/* encoded for a header where it is not ASCII */
	const char *date;			/* RFC 5322 */
	const char *message_id;
	const char *text;
	const char *html;
} MailMessage;

/* A URL taken apart; everything palloc'd, NULL where absent, host and scheme in lower case. */
typedef struct UrlParts
{
	char	   *scheme;
	char	   *user;
	char	   *host;
	char	   *port;			/* NULL where none was given or it is the scheme's default */
	char	   *path;			/* starts with "/"; percent-decoding not applied */
	char	   *query;
} UrlParts;

/* in transfer.c */
extern TransferPool *transfer_open(void);
extern char *transfer_trust_file(const char *configured, char **why);
extern bool transfer_has_ended(const Transfer *transfer);
extern void transfer_wait(TransferPool *pool, TimestampTz until);
extern void transfer_put_back(TransferPool *pool, Transfer *transfer);

/* in http.c */
extern Transfer *http_begin(TransferPool *pool, const HttpRequest *request);
extern void http_end(TransferPool *pool, Transfer *transfer, HttpResponse *response);
extern void http_release(HttpResponse *response);
extern bool url_parse(const char *url, UrlParts *parts, const char **why);
extern char *url_encode(const char *value);
extern char *url_decode(const char *value);

/* in smtp.c */
extern TransferFault mail_perform(TransferPool *pool, const MailMessage *message,
								  const char *user, const char *password, char **fault_text);

/* in pasted_url.c */
extern bool url_is_loopback(const UrlParts *parts);
extern int	url_port(const UrlParts *parts);
extern char *url_origin(const char *url);

#endif							/* MINGA_ROSTER_TRANSFER_H */
