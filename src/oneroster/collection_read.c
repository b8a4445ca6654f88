/*
 * collection_read.c
 *	  The reading of a collection as it stands, and its requests: which pages are
 *	  asked for, how many at a time, and what is asked beside them.
 *
 * The pages in flight together may be as large as one page alone
 * (PAGE_MAX_BYTES).
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/error.h"
#include "oneroster/client.h"
#include "oneroster/collection_read.h"
#include "oneroster/endpoint.h"
#include "oneroster/page.h"
#include "oneroster/page_request.h"

#define PAGES_MAX 100000

/* Begins to ask the server.  What the limit counts to, and what the offset counts, is as the server takes it. */
static void
begin_request(CollectionRead *read, PageRequest *request, int limit, int64 offset, int flags)
{
	RosterRead *roster = read->roster;
	MemoryContext caller = MemoryContextSwitchTo(read->context);

	request->get = begin_page(roster->client, read->reader.path, read->reader.fields, limit, offset, flags,
							  request->max_bytes, request->question == ASK_ROWS && request->limit > SMALL_PAGE);
	MemoryContextSwitchTo(caller);
	read->nrequests++;
	roster->in_flight++;
	roster->bytes_in_flight += request->max_bytes;
}

/* Asks for one page more. */
static void
request_page(CollectionRead *read, int64 offset, Size max_bytes)
{
	PageRequest *request = &read->requests[read->nrequests];
	int64		asked_limit;
	int64		asked_offset;

	request->question = ASK_ROWS;
	request->offset = offset;
	request->overlaps = read->overlap_forced ||
		(read->total < 0 && offset > 0 && !read->plain && (offset > read->position || read->last_was_full));
	request->limit = request->overlaps ? Max(read->page_size, 2) : read->page_size;
	/* Behind a first page that was short, a limit below the offset shows a server that takes it for the end. */
	if (request->overlaps && read->pages == 1 && !read->page_was_full && !read->counted)
		request->limit = Max(2, Min(request->limit, (int) read->position - 1));
	request->max_bytes = max_bytes;
	asked_offset = request->overlaps ? offset - 1 : offset;
	asked_limit = request->limit;
	if (read->page_numbers > 0)
		asked_offset = read->pages + read->page_numbers - 1;
	if (read->limit_is_end)
		asked_limit = Min(asked_offset + asked_limit, INT_MAX);
	begin_request(read, request, (int) asked_limit, asked_offset, 0);
}

/* Asks what is to be found out. */
static void
request_answer(CollectionRead *read, Size max_bytes)
{
	PageRequest *request = &read->requests[0];
	int64		limit = 2;
	int64		offset = 0;
	int			flags = 0;

	switch (read->question)
	{
		case ASK_ROWS:
			return;
		case ASK_LESS:
			limit = read->attempt.limit;
			flags = read->attempt.flags;
			break;
		case ASK_LAST_FIRST:
			flags = read->roster->client->facts.no_order ? 0 : ASK_FROM_END;
			break;
		case ASK_INSIDE:
			offset = read->position - 1;
			break;
		case ASK_WIDER:
			offset = read->position;
			limit = Min(offset + read->page_size, INT_MAX);
			break;
		case ASK_NUMBERED:
		case ASK_NUMBERED_FROM_1:
			offset = read->question == ASK_NUMBERED ? 1 : 2;
			limit = read->page_size;
			break;
		case ASK_TWO:
			offset = read->position;
			break;
	}
	request->question = read->question;
	request->offset = offset;
	request->limit = (int) limit;
	request->overlaps = false;
	request->max_bytes = max_bytes;
	begin_request(read, request, (int) limit, offset, flags);
}

void
forget_first_request(CollectionRead *read)
{
	RosterRead *roster = read->roster;

	client_end_get(read->requests[0].get);
	roster->in_flight--;
	roster->bytes_in_flight -= read->requests[0].max_bytes;
	read->nrequests--;
	memmove(&read->requests[0], &read->requests[1], read->nrequests * sizeof(PageRequest));
}

void
forget_requests(CollectionRead *read)
{
	while (read->nrequests > 0)
		forget_first_request(read);
}

/*
 * Asks for the page that is due and, where the collection is read ahead, for
 * those behind it, up to the requests that may be in flight.
 */
void
request_pages(CollectionRead *read)
{
	RosterRead *roster = read->roster;
	Size		max_bytes;

	if (roster->client->was_asked_to_wait)
		roster->requests = 1;
	max_bytes = PAGE_MAX_BYTES / roster->requests;
	while (roster->in_flight < roster->requests && roster->bytes_in_flight + max_bytes <= PAGE_MAX_BYTES)
	{
		int64		offset = read->position;

		if (read->question != ASK_ROWS)
		{
			if (read->nrequests == 0)
				request_answer(read, max_bytes);
			break;
		}
		if (read->nrequests > 0)
		{
			const PageRequest *last = &read->requests[read->nrequests - 1];

			offset = last->offset + last->limit - (last->overlaps ? 1 : 0);
			if (!read->ahead || (read->total >= 0 && offset >= read->total))
				break;
		}
		if (read->pages + read->nrequests >= PAGES_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the SIS does not end its list of %s", read->judge.collection->name),
					 errdetail("%d pages with " INT64_FORMAT " rows were read.", read->pages, read->rows),
					 errhint("Ask the SIS vendor, or ask for larger pages with roster_configure(page_size => ...).")));
		request_page(read, offset, max_bytes);
	}
}

/* From here on the collection is read one page after the other, by the rows received. */
void
drop_back(CollectionRead *read)
{
	forget_requests(read);
	read->ahead = false;
	read->odd = true;
}

/* Asks this next; once at a position: false where it was asked there. */
bool
ask_once(CollectionRead *read, Question question)
{
	if (read->asked & (1 << question))
		return false;
	forget_requests(read);
	read->ahead = false;
	read->asked |= 1 << question;
	read->question = question;
	return true;
}

/* Goes on with the rows that are due. */
void
ask_for_rows(CollectionRead *read)
{
	forget_requests(read);
	read->question = ASK_ROWS;
	read->asked = 0;
	read->end = END_NONE;
	read->inside = INSIDE_UNKNOWN;
	read->last_seen = false;
	read->row_missing = false;
	read->pending = NULL;
}

/* Whether it may be the filter of a delta that is refused, and the list of objects can be had without it. */
bool
has_unfiltered(const CollectionRead *read)
{
	return read->judge.collection->kind > PAGE_ORGS && read->judge.collection->filtered && *read->fallbacks != NULL;
}

/* The endpoint is read, or denied. */
void
finish(CollectionRead *read)
{
	forget_requests(read);
	read->question = ASK_ROWS;
	read->done = true;
}
