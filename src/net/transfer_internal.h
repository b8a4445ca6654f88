/*
 * transfer_internal.h
 *	  What transfer.c offers to the files that drive libcurl themselves: http.c and
 *	  smtp.c.
 */
#ifndef MINGA_ROSTER_TRANSFER_INTERNAL_H
#define MINGA_ROSTER_TRANSFER_INTERNAL_H

#include <netinet/in.h>

#include "datatype/timestamp.h"
#include "storage/latch.h"
#include "utils/palloc.h"

#include "base/compat.h"
#include "net/curl_compat.h"
#include "net/transfer.h"

#define MAX_SOCKETS 64
#define SPARES_MAX 4
#define HEADER_VALUE_MAX 200

/* A body on its way; malloc'd. */
typedef struct Body
{
	char	   *data;
	Size		len;
	Size		allocated;
	Size		max_bytes;
	bool		too_large;
	bool		sized;
	CURL	   *easy;
} Body;

/* What an answer's headers say, without those of interim answers, of a proxy, and after the body. */
typedef struct SeenHeaders
{
	bool		ended;
	bool		retry_after;
	char		date[HEADER_VALUE_MAX + 1];
	char		total_count[HEADER_VALUE_MAX + 1];
	char		permission_revision[HEADER_VALUE_MAX + 1];
} SeenHeaders;

/* A handle of a pool, used again and again. */
struct Transfer
{
	Transfer   *next;			/* of the pool */
	CURL	   *easy;
	bool		taken;
	bool		in_multi;
	bool		ended;
	CURLcode	result;			/* once it has ended */
	char		error_text[CURL_ERROR_SIZE];	/* libcurl's words on it, or empty */
	/* of HTTP */
	bool		public_only;	/* a socket goes to public addresses alone */
	bool		opened;			/* a socket was asked for */
	bool		refused;		/* ... or would have been, where none may go */
	char		refused_address[INET6_ADDRSTRLEN];	/* for the DBA; empty where the URL itself tells it */
	Size		header_bytes;
	SeenHeaders seen;
	Body		body;
	struct curl_slist *headers;
};

struct TransferPool
{
	MemoryContext context;
	MemoryContextCallback release;
	CURLM	   *multi;
	CURLSH	   *cookies;
	Transfer   *transfers;
	WaitEventSet *events;
	bool		sockets_changed;
	int			nsockets;
	struct
	{
		curl_socket_t fd;
		int			what;
	}			sockets[MAX_SOCKETS];
	bool		timer_set;
	TimestampTz timer_at;
	struct
	{
		char	   *data;
		Size		allocated;
	}			spares[SPARES_MAX]; /* of bodies, to be filled again: fresh memory costs more than what goes into it */
	int			nspares;
};

extern void transfer_prepare(Transfer *transfer, const char *url, const char *ca_file, const char *protocols);
extern Transfer *transfer_take(TransferPool *pool);
extern void transfer_spare_body(TransferPool *pool, char *data, Size allocated);
extern void transfer_start(TransferPool *pool, Transfer *transfer);
extern TransferFault transfer_fault(CURLcode result);
extern char *transfer_fault_text(const Transfer *transfer);

#endif							/* MINGA_ROSTER_TRANSFER_INTERNAL_H */
