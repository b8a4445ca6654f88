/*
 * transfer_curl.h
 *	  What the files that drive libcurl share; included by transfer*.c alone.
 */
#ifndef MINGA_ROSTER_TRANSFER_CURL_H
#define MINGA_ROSTER_TRANSFER_CURL_H

#include <curl/curl.h>

#include "datatype/timestamp.h"
#include "storage/latch.h"
#include "utils/palloc.h"

#include "compat.h"
#include "transfer.h"

#define MAX_SOCKETS 32

/* One transfer under way in a pool. */
typedef struct Transfer
{
	CURL	   *easy;
	bool		ended;
	CURLcode	result;			/* once it has ended */
	char		error_text[CURL_ERROR_SIZE];	/* libcurl's words on it, or empty */
} Transfer;

struct TransferPool
{
	MemoryContextCallback release;
	CURLM	   *multi;
	Transfer	transfer;		/* its handle is used again and again, and holds the cookies */
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
	bool		descriptor_reserved;
};

/* in transfer.c */
pg_noreturn extern void transfer_out_of_memory(void);
extern void transfer_prepare(Transfer *transfer, const char *url, const char *ca_file, const char *protocols);
extern CURLcode transfer_drive(TransferPool *pool, Transfer *transfer);
extern TransferFault transfer_fault(CURLcode result);
extern char *transfer_fault_text(const Transfer *transfer);
extern bool transfer_is_insecure(const char *url);

#endif							/* MINGA_ROSTER_TRANSFER_CURL_H */
