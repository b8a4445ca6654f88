/*
 * client.c
 *	  Authorized GETs of one connection, several at a time, each with its retries.
 *
 * What it must survive: a token that is withdrawn in the middle, with several
 * requests in flight; a server that asks to wait, which holds for all of them; and
 * permissions of the key that change.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/connection.h"
#include "base/run_row.h"
#include "base/settings.h"
#include "net/http.h"
#include "net/transfer.h"
#include "oneroster/client.h"
#include "oneroster/fault.h"
#include "oneroster/http_fault.h"
#include "oneroster/oauth2.h"
#include "oneroster/request.h"

#define REFUSALS_MAX 3			/* of the token, for one request */

/* How long a run may ask a SIS, which could otherwise keep it forever. */
#define TEST_MAX_MINUTES 15
#define FETCH_MAX_HOURS 6

/*
 * A client of the connection; lives in, and its pool is freed with, the current
 * memory context.  All clients of a run have one end.
 */
RosterClient *
client_open(RosterConnection *connection, RosterRun *run)
{
	RosterClient *client = palloc0(sizeof(RosterClient));

	client->context = CurrentMemoryContext;
	client->connection = connection;
	client->run = run;
	client->requester.pool = transfer_open();
	client->requester.run = run;
	client->authorization.context = CurrentMemoryContext;
	client->authorization.connection = connection;
	client->authorization.requester = &client->requester;
	client->facts.connection = connection;
	client->facts.run = run;
	if (run->asks_until == 0)
		run->asks_until = GetCurrentTimestamp() +
			(run->kind == RUN_TEST ? TEST_MAX_MINUTES * USECS_PER_MINUTE : FETCH_MAX_HOURS * USECS_PER_HOUR);
	client->requester.until = run->asks_until;
	if (run->kind == RUN_TEST)
		client->requester.until_fault = fault_make(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
												   "the connection could not be tested in time",
												   psprintf("The SIS was asked for %d minutes.", TEST_MAX_MINUTES),
												   "Ask the SIS vendor why its answers take so long.");
	else
		client->requester.until_fault = fault_make(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
												   "the roster could not be read in time",
												   psprintf("The SIS was asked for %d hours.", FETCH_MAX_HOURS),
												   "Ask the SIS vendor why its lists take so long; larger pages may "
												   "help (roster_configure(page_size => ...)).");
	return client;
}

static void
release_get(void *arg)
{
	ClientGet  *get = arg;
	ClientGet **place = &get->client->gets;

	while (*place != get)
		place = &(*place)->next;
	*place = get->next;
	if (get->transfer != NULL)
		transfer_put_back(get->client->requester.pool, get->transfer);
	http_release(&get->response);
}

/* Counts rows that came; raises when the client's are used up. */
void
client_count_rows(RosterClient *client, int rows)
{
	client->rows += rows;
	if (client->rows > roster_max_fetch_rows)
		request_raise_endless(psprintf("More than %d rows were read.", roster_max_fetch_rows), "max_fetch_rows");
}

/*
 * Begins to GET a URL with the token; client_wait carries it on.  It lives, with
 * what it allocates, until client_end_get or the end of the current memory
 * context, which must not outlive the client's.  slow_is_final: a time-out or
 * 504 is not tried again.
 */
ClientGet *
client_begin_get(RosterClient *client, const char *url, Size max_bytes, bool slow_is_final)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "minga_roster request", ALLOCSET_SMALL_SIZES);
	ClientGet  *get = MemoryContextAllocZero(context, sizeof(ClientGet));

	get->client = client;
	get->context = context;
	get->url = MemoryContextStrdup(context, url);
	get->max_bytes = max_bytes;
	get->slow_is_final = slow_is_final;
	get->response.total_count = -1;
	get->next = client->gets;
	client->gets = get;
	get->release.func = release_get;
	get->release.arg = get;
	MemoryContextRegisterResetCallback(context, &get->release);
	return get;
}

/* Sends it once more, with a header of its own for the token as it is now, which is asked for when there is none. */
static void
send_get(RosterClient *client, ClientGet *get)
{
	HttpRequest request = {.url = get->url,.max_bytes = get->max_bytes,.alone = client->an_answer_broke_off};
	char	   *authorization;

	get->tries++;
	get->fault = authorize(&client->authorization, false);
	if (get->fault != NULL)
	{
		get->ended = true;
		return;
	}
	get->token_number = client->token_number;
	authorization = authorization_header(&client->authorization, "GET", get->url);
	request.authorization = authorization;
	get->transfer = request_begin(&client->requester, &request);
	explicit_bzero(authorization, strlen(authorization));
}

/* Whether a request with that token waits for its answer. */
static bool
is_in_flight(const RosterClient *client, int token_number)
{
	for (const ClientGet *get = client->gets; get != NULL; get = get->next)
	{
		if (get->transfer != NULL && get->token_number == token_number)
			return true;
	}
	return false;
}

/*
 * A token that was refused is renewed, once for all requests in flight.  One
 * that nothing was ever answered for will not be better when it is renewed.
 * False where the refusal stays.
 */
static bool
renew_refused_token(RosterClient *client, ClientGet *get)
{
	if (client->connection->auth != AUTH_OAUTH2 || ++get->refusals > REFUSALS_MAX)
		return false;
	if (get->token_number < client->token_number)
		return true;
	if (get->refusals > 1 && client->token_accepted < get->token_number && !is_in_flight(client, get->token_number))
		return false;
	client->token_number++;
	get->fault = authorize(&client->authorization, true);
	return get->fault == NULL;
}

static bool
is_slow(const HttpResponse *response)
{
	return response->fault == TRANSFER_TIMEOUT ||
		(response->fault == TRANSFER_OK && (response->status == 504 || response->status == 524));
}

/* A proxy tells with each answer which revision of the key's permissions it was made under. */
static void
note_revision(RosterClient *client, const HttpResponse *response)
{
	if (response->permission_revision == NULL)
		return;
	if (client->revision == NULL)
		client->revision = MemoryContextStrdup(client->context, response->permission_revision);
	else if (strcmp(client->revision, response->permission_revision) != 0)
		client->revision_changed = true;
}

/* Forgets the revision that pages were read under, to read them again. */
void
client_forget_revision(RosterClient *client)
{
	client->revision = NULL;
	client->revision_changed = false;
}

/* Another try, in a while. */
static void
put_off(RosterClient *client, ClientGet *get, long pause)
{
	get->due_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause);
	get->paused += pause;
	if (get->response.retry_after_ms >= 0)
	{
		client->quiet_until = Max(client->quiet_until, get->due_at);
		client->was_asked_to_wait = true;
	}
	http_release(&get->response);
	client->run->retries++;
}

/* What came of the try that has ended: an end, or another try. */
static void
judge_try(RosterClient *client, ClientGet *get)
{
	HttpResponse *response = &get->response;
	long		pause;

	request_end(&client->requester, get->transfer, response);
	get->transfer = NULL;
	if (response->fault == TRANSFER_OK && response->status == 401)
	{
		get->ended = !renew_refused_token(client, get);
		if (!get->ended)
		{
			get->tries--;
			http_release(response);
		}
		return;
	}
	if (response->fault == TRANSFER_OK)
		client->token_accepted = Max(client->token_accepted, get->token_number);
	note_revision(client, response);
	pause = request_pause(response, request_tries(response), get->tries, get->paused);
	if (pause >= 0 && get->slow_is_final && is_slow(response))
	{
		client->quiet_until = Max(client->quiet_until, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause));
		get->slow = true;
	}
	if (pause < 0 || get->slow)
	{
		get->ended = true;
		if (response->fault != TRANSFER_OK)
			get->fault = http_transfer_fault(get->url, response);
		return;
	}
	put_off(client, get, pause);
}

/*
 * A GET that has ended with an answer that broke off is tried again, like one
 * whose connection broke.  False where it has been tried often enough.  The
 * rest of the answer may still come, so no connection is used twice from now on.
 */
bool
client_try_again(RosterClient *client, ClientGet *get)
{
	long		pause = request_pause(&get->response, REQUEST_TRIES_MAX, get->tries, get->paused);

	client->an_answer_broke_off = true;
	if (pause < 0)
		return false;
	get->ended = false;
	put_off(client, get, pause);
	return true;
}

bool
client_get_has_ended(const ClientGet *get)
{
	return get->ended;
}

/*
 * Carries all GETs that were begun on, until one moves: sends what is due,
 * waits, unless block is false, and judges what came.  To be called in a loop.
 * Raises on an interrupt and when the client's time is over.
 */
void
client_wait(RosterClient *client, bool block)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = DT_NOEND;
	bool		moved = false;

	CHECK_FOR_INTERRUPTS();
	for (ClientGet *get = client->gets; get != NULL; get = get->next)
	{
		MemoryContext caller = MemoryContextSwitchTo(get->context);
		TimestampTz due_at = Max(get->due_at, client->quiet_until);

		if (get->transfer == NULL && !get->ended && due_at <= now)
		{
			send_get(client, get);
			moved |= get->ended;
		}
		else if (get->transfer == NULL && !get->ended)
			until = Min(until, due_at);
		MemoryContextSwitchTo(caller);
	}
	/* Renewing a token carries the others on too. */
	for (ClientGet *get = client->gets; get != NULL; get = get->next)
		moved |= (get->transfer != NULL && transfer_has_ended(get->transfer));
	if (!moved)
		request_wait(&client->requester, block ? until : now);
	for (ClientGet *get = client->gets; get != NULL; get = get->next)
	{
		MemoryContext caller = MemoryContextSwitchTo(get->context);

		if (get->transfer != NULL && transfer_has_ended(get->transfer))
			judge_try(client, get);
		MemoryContextSwitchTo(caller);
	}
}

/* Until no GET is under way. */
void
client_wait_for_all(RosterClient *client)
{
	ClientGet  *get = client->gets;

	while (get != NULL)
	{
		if (client_get_has_ended(get))
			get = get->next;
		else
		{
			client_wait(client, true);
			get = client->gets;
		}
	}
}

/* Ends a GET, wherever it is; what it allocated goes with it. */
void
client_end_get(ClientGet *get)
{
	MemoryContextDelete(get->context);
}
