/*
 * http.h
 *	  HTTP requests by libcurl.
 */
#ifndef MINGA_ROSTER_HTTP_H
#define MINGA_ROSTER_HTTP_H

#include "postgres.h"

#include "net/transfer.h"

typedef struct HttpRequest
{
	const char *url;
	const char *form;			/* body of a POST, or NULL for a GET */
	const char *authorization;	/* value of the Authorization header, or NULL */
	const char *basic_user;		/* for HTTP Basic, or NULL */
	const char *basic_password;
	Size		max_bytes;		/* of the decoded body */
	bool		alone;			/* on a connection of its own */
	const char *ca_file;		/* trusted instead of minga_roster.ca_file, or NULL */
} HttpRequest;

typedef struct HttpResponse
{
	TransferFault fault;
	char	   *fault_text;		/* libcurl's words, without URL or secret; NULL for what only the log may tell */
	int			status;
	int			proxy_status;	/* of a proxy's answer to CONNECT, 0: none */
	char	   *body;			/* NUL-terminated; malloc'd, see http_release */
	Size		len;
	Size		allocated;
	TransferPool *pool;			/* that the body's memory goes back to */
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

extern Transfer *http_begin(TransferPool *pool, const HttpRequest *request);
extern void http_end(TransferPool *pool, Transfer *transfer, HttpResponse *response);
extern void http_release(HttpResponse *response);

#endif							/* MINGA_ROSTER_HTTP_H */
