/*
 * request.c
 *	  One request with its retries; and which answers may be others in a moment.
 *
 * What it must survive: a server that is down for moments, one that asks to wait,
 * one that never ends.  Other 4xx, but for 408 and 425, are never tried again.
 * All waits end at once on an interrupt, and with the time that the requester is
 * given.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "net/http.h"
#include "net/transfer.h"
#include "oneroster/fault.h"
#include "oneroster/request.h"

#define FIRST_PAUSE_MS 500
#define PAUSE_MAX_MS (120 * 1000)
#define PAUSES_MAX_MS (300 * 1000)	/* of one request in all */

/* Raises what a SIS is that has no end. */
void
request_raise_endless(const char *detail, const char *setting)
{
	fault_raise(fault_make(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
						   "the SIS sends more than a run may read", detail,
						   psprintf("Ask the SIS vendor why its lists do not end. For a roster that is so large, "
									"ask the DBA to raise minga_roster.%s.", setting)));
}

/*
 * Carries the transfers on for a moment, but not beyond that time; raises when
 * the client's time is over or its bytes are used up.
 */
void
request_wait(Requester *requester, TimestampTz until)
{
	if (requester->run->while_waiting != NULL)
		until = Min(until, requester->run->while_waiting());
	transfer_wait(requester->pool, Min(until, requester->until));
	if (GetCurrentTimestamp() >= requester->until)
		fault_raise(requester->until_fault);
	if (requester->run->bytes / (1024 * 1024) >= roster_max_fetch_megabytes)
		request_raise_endless(psprintf("%d MB were read.", roster_max_fetch_megabytes), "max_fetch_megabytes");
}

/*
 * Whether the same request may be answered otherwise in a moment: a server or what stands before it is busy, restarts
 * or timed out.
 */
static bool
may_pass(int status)
{
	switch (status)
	{
		case 408:
		case 425:
		case 429:
		case 502:
		case 503:
		case 504:
			return true;
	}
	return status >= 520 && status <= 524;	/* of Cloudflare */
}

/*
 * Whether an answer that is no list says no to the request as it was made: not
 * to the key, and not for the moment.
 */
bool
request_was_refused(const HttpResponse *response)
{
	return response->fault == TRANSFER_OK && response->status != 0 && response->status != 401 &&
		response->status != 403 && !may_pass(response->status);
}

/* The key may not, or the endpoint is not there, as servers say it at its first page. */
bool
request_was_denied(const HttpResponse *response)
{
	switch (response->status)
	{
		case 403:
		case 404:
		case 405:
		case 410:
		case 501:
			return true;
	}
	return false;
}

/* How often a request may be tried that ended so; 1 is never again. */
int
request_tries(const HttpResponse *response)
{
	switch (response->fault)
	{
		case TRANSFER_OK:
			return may_pass(response->status) ? REQUEST_TRIES_MAX : 1;
		case TRANSFER_CONNECT:
		case TRANSFER_UNREACHABLE:
		case TRANSFER_PROXY:
			return REQUEST_TRIES_MAX;
		case TRANSFER_PROXY_REFUSED:
			return response->proxy_status == 407 ? 1 : REQUEST_TRIES_MAX;
		case TRANSFER_DNS:
		case TRANSFER_TIMEOUT:
			return 2;
		default:
			return 1;
	}
}

/*
 * How long to pause before a request that ended so is tried again, so many
 * tries in all, in milliseconds; -1 where it is not.
 */
long
request_pause(const HttpResponse *response, int tries, int try, long paused)
{
	long		pause;

	if (try >= tries)
		return -1;
	pause = (long) (FIRST_PAUSE_MS * (1 << (try - 1)) * (0.75 + 0.5 * pg_prng_double(&pg_global_prng_state)));
	pause = Max(pause, response->retry_after_ms);
	return pause > PAUSE_MAX_MS || paused + pause > PAUSES_MAX_MS ? -1 : pause;
}

Transfer *
request_begin(Requester *requester, const HttpRequest *request)
{
	requester->run->requests++;
	return http_begin(requester->pool, request);
}

void
request_end(Requester *requester, Transfer *transfer, HttpResponse *response)
{
	http_end(requester->pool, transfer, response);
	requester->run->bytes += response->len;
}

/* One try, counted up in the run, without a token.  The response, good or bad, is the caller's to release. */
void
request_try(Requester *requester, const HttpRequest *request, HttpResponse *response)
{
	Transfer   *transfer = request_begin(requester, request);

	while (!transfer_has_ended(transfer))
		request_wait(requester, DT_NOEND);
	request_end(requester, transfer, response);
}

/*
 * One request with its retries, counted up in the run, without a token.  The
 * last response, good or bad, is the caller's to release.
 */
void
request_perform(Requester *requester, const HttpRequest *request, HttpResponse *response)
{
	long		paused = 0;

	for (int try = 1;; try++)
	{
		long		pause;
		TimestampTz due_at;

		request_try(requester, request, response);
		pause = request_pause(response, request_tries(response), try, paused);
		if (pause < 0)
			return;
		http_release(response);
		due_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause);
		while (GetCurrentTimestamp() < due_at)
			request_wait(requester, due_at);
		paused += pause;
		requester->run->retries++;
	}
}
