/*
 * request.h
 *	  One request with its retries.
 */
#ifndef MINGA_ROSTER_REQUEST_H
#define MINGA_ROSTER_REQUEST_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "base/compat.h"
#include "base/run_row.h"
#include "net/http.h"
#include "net/transfer.h"
#include "oneroster/fault.h"

#define REQUEST_TRIES_MAX 5

/* Who makes requests: what they are counted up in, and when they have to end. */
typedef struct Requester
{
	TransferPool *pool;
	RosterRun  *run;			/* its requests, retries, bytes are counted up */
	TimestampTz until;			/* when all waits end with an error */
	RosterFault *until_fault;
} Requester;

extern Transfer *request_begin(Requester *requester, const HttpRequest *request);
extern void request_end(Requester *requester, Transfer *transfer, HttpResponse *response);
extern void request_wait(Requester *requester, TimestampTz until);
extern void request_try(Requester *requester, const HttpRequest *request, HttpResponse *response);
extern void request_perform(Requester *requester, const HttpRequest *request, HttpResponse *response);
extern bool request_was_refused(const HttpResponse *response);
extern bool request_was_denied(const HttpResponse *response);
extern int	request_tries(const HttpResponse *response);
extern long request_pause(const HttpResponse *response, int tries, int try, long paused);
pg_noreturn extern void request_raise_endless(const char *detail, const char *setting);

#endif							/* MINGA_ROSTER_REQUEST_H */
