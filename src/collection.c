/*
 * collection.c
 *	  Reads collections, page after page, into the stage.  Whether each was read
 *	  to its end is proof.c's to say.
 *
 * Collections are read side by side, and pages of one at a time, as far as the
 * run may have requests in flight.  Pages are taken in the order of their
 * offsets, each only where it begins at the row that is due, so that what was read is what reading one after the other would have read.  A
 * page that does not fit drops its collection back to that: what was asked for
 * beyond it is thrown away, and asked for again.  Servers that are slow or ask
 * for a pause are asked one thing at a time from then on.
 *
 * Nothing is held while waiting for the network: each page is one transaction,
 * begun when it is there.  The pages in flight together may be as large as one
 * page alone (PAGE_MAX_BYTES); what grows with the roster is in the stage.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "collection.h"
#include "compat.h"

#define PAGES_MAX 100000
#define SMALL_PAGE 50			/* rows; smaller ones do not make a slow server faster */
#define PAGES_TO_GROW 3			/* after so many good ones a page size that was halved is doubled; later after more */

static void
take_user(void *taker, PageRow *row)
{
	CollectionRead *read = taker;
	const text *id = row->texts[ROW_SOURCED_ID];
	uint64		hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), 0);
	bool		elsewhere = is_elsewhere(&read->judge, row);

	if (read->overlap_is_due)
	{
		read->overlap_is_due = false;
		read->overlap_came = (hash == read->last_id);
		if (read->overlap_came)
			return;
	}

	if (read->nids == read->ids_size)
	{
		read->ids_size = Max(1024, read->ids_size * 2);
		read->ids = read->ids == NULL ? MemoryContextAllocHuge(read->context, read->ids_size * sizeof(uint64)) :
			repalloc_huge(read->ids, read->ids_size * sizeof(uint64));
	}
	read->ids[read->nids++] = hash;
	stage_user(read->roster->stage, row, elsewhere);
	if (elsewhere)
	{
		read->elsewhere++;
		if (is_nowhere(&read->judge, row))
			read->nowhere++;
	}
	else
		read->roster->run->rows_staged++;
}

/* Asks for one page more. */
static void
request_page(CollectionRead *read, int64 offset, Size max_bytes)
{
	RosterRead *roster = read->roster;
	PageRequest *request = &read->requests[read->nrequests];
	MemoryContext caller = MemoryContextSwitchTo(read->context);

	request->offset = offset;
	request->overlaps = (read->total < 0 && offset > 0 && !read->plain &&
						 (offset > read->position || read->last_was_full));
	request->limit = request->overlaps ? Max(read->page_size, 2) : read->page_size;
	request->max_bytes = max_bytes;
	request->get = begin_page(roster->client, read->reader.path, request->limit,
							  request->overlaps ? offset - 1 : offset, max_bytes,
							  request->limit > SMALL_PAGE);
	MemoryContextSwitchTo(caller);
	read->nrequests++;
	roster->in_flight++;
	roster->bytes_in_flight += max_bytes;
}

static void
forget_first_request(CollectionRead *read)
{
	RosterRead *roster = read->roster;

	client_end_get(read->requests[0].get);
	roster->in_flight--;
	roster->bytes_in_flight -= read->requests[0].max_bytes;
	read->nrequests--;
	memmove(&read->requests[0], &read->requests[1], read->nrequests * sizeof(PageRequest));
}

static void
forget_requests(CollectionRead *read)
{
	while (read->nrequests > 0)
		forget_first_request(read);
}

/* Asks for the page that is due and, where the collection is read ahead, for those behind it, as far as requests may be in flight. */
static void
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
					 errmsg("the SIS does not come to an end of its %s", read->judge.collection->name),
					 errdetail("%d pages with " INT64_FORMAT " rows were read.", read->pages, read->rows),
					 errhint("Ask the SIS vendor, or ask for larger pages with roster_configure(page_size => ...).")));
		request_page(read, offset, max_bytes);
	}
}

/* From here on the collection is read one page after the other, by the rows received. */
static void
drop_back(CollectionRead *read)
{
	forget_requests(read);
	read->ahead = false;
	read->odd = true;
}

/* From here on no page is asked for from the last row of the one before: some servers give whole pages alone. */
static void
ask_plainly(CollectionRead *read)
{
	forget_requests(read);
	read->plain = true;
}

/* Half a page, one request at a time: the server did not manage the whole one. */
static void
halve_page(CollectionRead *read)
{
	RosterRead *roster = read->roster;

	forget_requests(read);
	read->ahead = false;
	read->page_size = Max(read->page_size / 2, SMALL_PAGE);
	read->good_pages = 0;
	read->pages_to_grow = Max(PAGES_TO_GROW, read->pages_to_grow * 2);
	roster->page_size = Min(roster->page_size, read->page_size);
	roster->requests = 1;
	roster->run->retries++;
}

/* A good page came: what the next ones are asked for by. */
static void
note_good_page(CollectionRead *read, const PageRequest *request)
{
	RosterRead *roster = read->roster;
	bool		full = read->reader.rows >= request->limit;

	if (read->pages == 1)
	{
		/* Its rows are the page size from then on, unless it was full and half of what should have been. */
		if (!full || request->limit == read->whole_page_size)
			read->whole_page_size = read->reader.rows;
		read->page_size = read->reader.rows;
	}
	if (read->page_size < read->whole_page_size && ++read->good_pages >= Max(PAGES_TO_GROW, read->pages_to_grow))
	{
		read->page_size = Min(read->page_size * 2, read->whole_page_size);
		roster->page_size = Max(roster->page_size, read->page_size);
		read->good_pages = 0;
	}
	read->ahead = roster->requests > 1 && !read->odd && (full || (read->total >= 0 && read->rows < read->total));
}

/*
 * Stages the page that is due, in a transaction of its own.  False where it does
 * not fit and might when it is asked for otherwise, alone or without an overlap,
 * or broke off and is asked for again: nothing of it is kept.
 */
static bool
take_page(CollectionRead *read, const PageRequest *request)
{
	RosterRead *roster = read->roster;
	PageReader *reader = &read->reader;
	HttpResponse *response = &request->get->response;
	int64		staged_before = roster->run->rows_staged;
	int64		elsewhere_before = read->elsewhere;
	int64		nowhere_before = read->nowhere;
	ClientFault *fault;
	bool		again;
	int			new_rows;

	begin_worker_transaction();
	read->nids = 0;
	read->overlap_is_due = request->overlaps;
	read->overlap_came = false;
	stage_begin_page(roster->stage, PAGE_USERS, read->judge.collection->name);
	fault = read_page(reader, response);
	again = (fault != NULL && fault->broke_off && client_try_again(roster->client, request->get));
	if (fault == NULL)
		client_count_rows(roster->client, reader->rows);
	if (fault == NULL && reader->bare && read->pages == 0 && !read->judge.collection->filtered)
		fault = page_without_rows(reader, "");
	if (again || (read->ahead && (fault != NULL || (reader->rows == 0 && read->total >= 0 && read->rows < read->total))) ||
		(fault == NULL && (read->ahead || request->overlaps) && is_page_known(read)))
	{
		abort_worker_transaction();
		roster->run->rows_staged = staged_before;
		read->elsewhere = elsewhere_before;
		read->nowhere = nowhere_before;
		return false;
	}
	if (fault != NULL)
		client_raise(fault);
	stage_end_page(roster->stage);

	note_total(read, response->total_count);
	read->moved |= (request->overlaps && !read->overlap_came);
	read->unchecked |= (!request->overlaps && read->pages > 0 && reader->rows > 0);
	new_rows = reader->rows - (read->overlap_came ? 1 : 0);
	read->last_was_full = (reader->rows >= request->limit || read->pages == 0);
	if (new_rows == 0 && reader->rows > 0)
		;						/* the end is there, and has to be seen */
	else if (reader->rows == 0)
	{
		read->end = (reader->bare || reader->null_list) ? END_EMPTY_OBJECT : END_EMPTY_PAGE;
		read->done = true;
	}
	else
	{
		note_page(read);
		read->pages++;
		roster->run->pages++;
		read->rows += new_rows;
		read->position = request->offset - (request->overlaps ? 1 : 0) + reader->rows;
		if (read->nids > 0)
			read->last_id = read->ids[read->nids - 1];
		read->repeated += count_repeated(read);
		read->without_id += reader->without_id;
		note_nameless_page(read);
		if (read->total >= 0 && read->rows >= read->total && read->pages > 1 && reader->rows < request->limit &&
			count_distinct(read) == read->total)
		{
			read->end = END_TOTAL;
			read->done = true;
		}
		note_good_page(read, request);
		store_progress(roster->run, false);
	}
	commit_worker_transaction();
	return true;
}

/* What becomes of a collection whose page that is due did not come. */
static void
judge_fault(CollectionRead *read, const PageRequest *request, ClientFault *fault)
{
	RosterRead *roster = read->roster;
	const HttpResponse *response = &request->get->response;

	if (request->get->slow)
		halve_page(read);
	else if (response->fault == TRANSFER_TOO_LARGE && request->max_bytes < PAGE_MAX_BYTES)
	{
		/* Fewer at a time may be larger. */
		forget_requests(read);
		roster->requests = Max(roster->requests / 2, 1);
	}
	else if (read->pages == 0 && is_denied(response))
	{
		read->end = END_DENIED;
		read->done = true;
		read->fault = client_fault(fault->sqlstate, fault->message, fault->detail, fault->hint);
	}
	else if (read->ahead)
		drop_back(read);
	else if (request->overlaps && response->status == 400)
		ask_plainly(read);
	else if (response->status == 404)
	{
		read->end = END_NOT_FOUND;
		read->done = true;
	}
	else
		client_raise(fault);
}

/* Takes what came of the page that is due. */
static void
take_first_request(CollectionRead *read)
{
	PageRequest request = read->requests[0];
	ClientFault *fault = page_fault(read->roster->client, request.get);

	if (fault != NULL)
		judge_fault(read, &request, fault);
	else if (!take_page(read, &request))
	{
		if (!client_get_has_ended(request.get))
			;					/* it is asked for again */
		else if (read->ahead)
			drop_back(read);
		else
			ask_plainly(read);
	}
	else
	{
		forget_first_request(read);
		if (read->nrequests > 0 && read->requests[0].offset != read->position)
			drop_back(read);
	}
	if (read->done)
		forget_requests(read);
}

/* Begins with an endpoint of the collection. */
static void
begin_endpoint(CollectionRead *read, const char *path)
{
	RosterConnection *connection = read->roster->client->connection;

	read->path = path;
	read->judge.school_scoped = is_school_scoped(path);
	read->reader.path = collection_path(connection, path);
	read->whole_page_size = connection->page_size;
	read->page_size = Min(read->roster->page_size, connection->page_size);
	read->done = false;
}

static CollectionRead *
begin_collection(RosterRead *roster, const RosterCollection *collection)
{
	CollectionRead *read = palloc0(sizeof(CollectionRead));
	HASHCTL		hash_ctl = {.keysize = sizeof(uint64),.entrysize = sizeof(uint64),.hcxt = CurrentMemoryContext};

	read->roster = roster;
	read->context = CurrentMemoryContext;
	read->total = -1;
	read->judge.school_id = roster->client->connection->school_id;
	read->judge.collection = collection;
	initStringInfo(&read->detail);
	reader_of_users(&read->reader, roster->client->connection, collection);
	read->reader.take_row = take_user;
	read->reader.taker = read;
	read->pages_seen = hash_create("minga_roster pages", 64, &hash_ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	read->fallbacks = collection->fallbacks;
	begin_endpoint(read, collection->path);
	return read;
}

/* An endpoint is read, or denied itself: there may be another one to fall back on.  Stores what the collection came to. */
static void
end_endpoint(CollectionRead *read)
{
	const RosterCollection *collection = read->judge.collection;

	if (read->fault != NULL)
	{
		add_sentence(&read->detail, "%s: %s.", read->path, read->fault->message);
		if (*read->fallbacks != NULL)
		{
			read->fault = NULL;
			begin_endpoint(read, *read->fallbacks++);
			return;
		}
	}
	else if (read->path != collection->path)
		add_sentence(&read->detail, "Read from %s instead.", read->path);
	store_collection(read);
}

/* The page that is due has come, or will not come. */
static bool
is_page_ready(const CollectionRead *read)
{
	return read->nrequests > 0 && client_get_has_ended(read->requests[0].get);
}

/*
 * Reads the collections into the stage, with up to so many requests in flight,
 * and stores a row for each.  NULL, or the first fault where all were denied.
 * Ends early where what the server shows to the key changes meanwhile
 * (client->revision_changed), and where a delta finds that the server ignores
 * what it asks for, so that all has to be read (*filter_ignored).  Raises what
 * stops the run.  Not inside a transaction.
 */
ClientFault *
read_collections(RosterClient *client, RosterRun *run, Stage *stage, List *collections, int requests, bool *filter_ignored)
{
	RosterRead	roster = {.client = client,.run = run,.stage = stage};
	List	   *reads = NIL;
	ListCell   *cell;
	int			left = list_length(collections);
	bool		readable = false;
	bool		ready = false;
	ClientFault *first_fault = NULL;

	roster.requests = Min(requests, REQUESTS_MAX);
	roster.page_size = client->connection->page_size;
	foreach(cell, collections)
		reads = lappend(reads, begin_collection(&roster, lfirst(cell)));

	while (left > 0 && !client->revision_changed && !*filter_ignored)
	{
		foreach(cell, reads)
		{
			if (!((CollectionRead *) lfirst(cell))->done)
				request_pages(lfirst(cell));
		}
		/* While there are pages to take, the others are only helped on their way. */
		client_wait(client, !ready);
		ready = false;
		foreach(cell, reads)
		{
			CollectionRead *read = lfirst(cell);

			if (client->revision_changed || *filter_ignored)
				break;
			if (!is_page_ready(read))
				continue;
			take_first_request(read);
			ready |= is_page_ready(read);
			if (read->done)
				end_endpoint(read);
			if (!read->done)
				continue;
			left--;
			readable |= (read->fault == NULL);
			if (first_fault == NULL)
				first_fault = read->fault;
			*filter_ignored = (read->judge.collection->filtered && filter_is_ignored(run, read->judge.collection));
		}
	}
	foreach(cell, reads)
		forget_requests(lfirst(cell));
	return readable ? NULL : first_fault;
}
