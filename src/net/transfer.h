/*
 * transfer.h
 *	  Transfers at a time: the seam to libcurl, whose headers no file outside of net sees.
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
	TRANSFER_PROTOCOL			/* anything else: not HTTP, bad URL, ... */
} TransferFault;

extern TransferPool *transfer_open(void);
extern char *transfer_trust_file(const char *configured, char **why);
extern bool transfer_has_ended(const Transfer *transfer);
extern void transfer_wait(TransferPool *pool, TimestampTz until);
extern void transfer_put_back(TransferPool *pool, Transfer *transfer);

#endif							/* MINGA_ROSTER_TRANSFER_H */
