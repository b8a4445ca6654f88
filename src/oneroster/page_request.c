/*
 * page_request.c
 *	  One page of a list asked for, and what the answer means where it is none.
 */
#include "postgres.h"

#include "net/http.h"
#include "oneroster/client.h"
#include "oneroster/endpoint.h"
#include "oneroster/fault.h"
#include "oneroster/http_fault.h"
#include "oneroster/oauth2.h"
#include "oneroster/page.h"
#include "oneroster/page_request.h"

/*
 * Begins to ask for a page; client_wait carries it on.  fields: those of each row, or NULL.  flags: ASK_...
 * slow_is_final: with a time-out or 504 it ends, for the caller to ask for fewer rows.
 */
ClientGet *
begin_page(RosterClient *client, const char *path, const char *fields, int limit, int64 offset, int flags,
		   Size max_bytes, bool slow_is_final)
{
	char	   *url = endpoint_url(&client->facts, path, fields, limit, offset, flags);
	ClientGet  *get = client_begin_get(client, url, max_bytes, slow_is_final);

	pfree(url);
	return get;
}

/* What an answer that is no 200 means; palloc'd. */
static RosterFault *
status_fault(RosterClient *client, const char *url, const HttpResponse *response)
{
	return response->status == 401 ?
		authorization_refusal(&client->authorization, response, http_found(url, response)) :
		http_status_fault(url, response);
}

/*
 * Adds the words of the SIS to why it refused a page.  They may hold what it
 * was sent, so they are left out where the token is in them; and a redirect or
 * a refused token has none to go by.
 */
static void
add_words(RosterClient *client, ClientGet *get)
{
	RosterFault *fault = get->fault;
	char	   *words;

	if (get->response.status < 400 || get->response.status == 401)
		return;
	words = page_description(get->response.body, get->response.len);
	if (words == NULL || (client->authorization.token != NULL && strstr(words, client->authorization.token) != NULL))
		return;
	fault->words = words;
}

/*
 * What a page that has ended came to.  NULL: its 200 is in get->response; else
 * the fault, with the status as answered, 0 where nothing was.  Lives as long
 * as the GET.
 */
RosterFault *
page_fault(RosterClient *client, ClientGet *get)
{
	if (get->fault == NULL && get->response.status != 200)
	{
		MemoryContext caller = MemoryContextSwitchTo(get->context);

		get->fault = status_fault(client, get->url, &get->response);
		add_words(client, get);
		MemoryContextSwitchTo(caller);
	}
	if (get->fault != NULL)
		http_release(&get->response);	/* no one looks into it */
	return get->fault;
}

/*
 * Asks for a page and waits for it.  NULL: its 200 is in *response; else the
 * fault, with (*response)->status as answered, 0 where nothing was.  Fault and
 * response, body included, live as long as the current memory context.  Not
 * inside a transaction.
 */
RosterFault *
get_page(RosterClient *client, const char *path, const char *fields, int limit, int64 offset, int flags,
		 HttpResponse **response)
{
	ClientGet  *get = begin_page(client, path, fields, limit, offset, flags, PAGE_MAX_BYTES, false);

	while (!client_get_has_ended(get))
		client_wait(client, true);
	*response = &get->response;
	return page_fault(client, get);
}
