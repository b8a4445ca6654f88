/*
 * collection.c
 *	  Reads a collection, page after page, into the stage.  Whether it was read to
 *	  its end is proof.c's to say.
 *
 * Several pages of it are asked for at a time.  They are taken in the order of
 * their offsets, each only where it begins at the row that is due, so that what
 * was read is what reading one after the other would have read.  A page that does
 * not fit drops the collection back to that: what was asked for beyond it is
 * thrown away, and asked for again.  Servers that are slow or ask for a pause are
 * asked one thing at a time from then on.
 *
 * Servers refuse what they do not know.  An overlap (a page from the last row
 * received on) that was refused in whatever way is asked for without it; a first
 * page with less (attempt.c).  What an end is, list_end.c finds out.
 *
 * Nothing is held while waiting for the network: each page is one transaction,
 * begun when it is there.  What grows with the roster is in the stage.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/connection.h"
#include "base/run_row.h"
#include "base/transaction.h"
#include "net/http.h"
#include "net/transfer.h"
#include "oneroster/client.h"
#include "oneroster/collection.h"
#include "oneroster/collection_read.h"
#include "oneroster/endpoint.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/list_end.h"
#include "oneroster/needs.h"
#include "oneroster/page.h"
#include "oneroster/page_request.h"
#include "oneroster/proof.h"
#include "oneroster/request.h"
#include "oneroster/row_values.h"
#include "oneroster/scope.h"
#include "oneroster/seen_ids.h"
#include "oneroster/stage.h"

#define SMALLEST_PAGE 2			/* no longer halved when pages are refused */
#define PAGES_TO_GROW 3			/* after so many good ones a page size that was halved is doubled; later after more */

static void
take_row(void *taker, PageRow *row)
{
	CollectionRead *read = taker;
	bool		elsewhere = is_elsewhere(&read->judge, row);

	if (read->overlap_is_due)
	{
		read->overlap_is_due = false;
		read->overlap_came = (row->id_hash == read->last_id);
		if (read->overlap_came)
			return;
	}

	if (read->nids == read->ids_size)
	{
		read->ids_size = Max(1024, read->ids_size * 2);
		read->ids = read->ids == NULL ? MemoryContextAllocHuge(read->context, read->ids_size * sizeof(uint64)) :
			repalloc_huge(read->ids, read->ids_size * sizeof(uint64));
	}
	read->ids[read->nids++] = row->id_hash;
	if (read->judge.collection->kind > PAGE_ORGS)
		stage_object(read->roster->stage, row, elsewhere);
	else
	{
		if (!elsewhere)
			reduce_row(read->roster->needs, read->judge.collection, row);
		stage_user(read->roster->stage, row, elsewhere);
	}
	if (elsewhere)
	{
		read->elsewhere++;
		if (is_nowhere(&read->judge, row))
			read->nowhere++;
	}
	else if (read->judge.collection->kind == PAGE_USERS)
		read->roster->run->rows_staged++;
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

/* The fault, copied to where it lives as long as the reading. */
static RosterFault *
keep_fault(CollectionRead *read, const RosterFault *fault)
{
	MemoryContext caller = MemoryContextSwitchTo(read->context);
	RosterFault *copy = fault_copy(fault);

	MemoryContextSwitchTo(caller);
	return copy;
}

/* Whether the page that was read has rows that have not been staged.  In a transaction of its own. */
static bool
has_new_rows(CollectionRead *read)
{
	int64		new_rows;

	begin_worker_transaction();
	new_rows = count_new(read, read->ids, read->nids);
	commit_worker_transaction();
	return new_rows > 0;
}

/* What a page came to that was answered with 200. */
typedef enum PageOutcome
{
	PAGE_TAKEN,
	PAGE_AGAIN,					/* it broke off, and is asked for again */
	PAGE_UNREADABLE,			/* read->pending says why */
	PAGE_EMPTY,
	PAGE_REPEATED,				/* rows that were there before, and no others */
	PAGE_UNSURE					/* other rows than were due, and new ones: to be asked for again, and taken then */
} PageOutcome;

/* Stages the page that is due, in a transaction of its own.  Of one that is not taken nothing is kept. */
static PageOutcome
take_page(CollectionRead *read, const PageRequest *request)
{
	RosterRead *roster = read->roster;
	PageReader *reader = &read->reader;
	HttpResponse *response = &request->get->response;
	int64		staged_before = roster->run->rows_staged;
	int64		elsewhere_before = read->elsewhere;
	int64		nowhere_before = read->nowhere;
	PageOutcome outcome = PAGE_TAKEN;
	RosterFault *fault;
	bool		again;
	int			new_rows;

	begin_worker_transaction();
	read->nids = 0;
	read->overlap_is_due = request->overlaps;
	read->overlap_came = false;
	stage_begin_page(roster->stage, reader->kind, read->judge.collection->name);
	fault = read_page(reader, response);
	again = (fault != NULL && fault->broke_off && client_try_again(roster->client, request->get));
	if (fault == NULL)
		client_count_rows(roster->client, reader->rows);
	if (fault == NULL && reader->bare && read->pages == 0 && !read->judge.collection->filtered)
		fault = page_without_rows(reader, "");
	if (again)
		outcome = PAGE_AGAIN;
	else if (fault != NULL)
		outcome = PAGE_UNREADABLE;
	else if (reader->rows == 0)
		outcome = PAGE_EMPTY;
	else if (is_page_known(read))
		outcome = PAGE_REPEATED;
	else if (!read->new_rows_due && read->total < 0 &&
			 (request->overlaps ? !read->overlap_came : !read->last_was_full && read->pages > 0))
		outcome = PAGE_UNSURE;
	if (outcome != PAGE_TAKEN)
	{
		if (fault != NULL)
			read->pending = keep_fault(read, fault);
		abort_worker_transaction();
		roster->run->rows_staged = staged_before;
		read->elsewhere = elsewhere_before;
		read->nowhere = nowhere_before;
		if (outcome == PAGE_EMPTY && !request->overlaps)
			note_total(read, response->total_count, staged_before);
		else if (outcome == PAGE_UNSURE && !has_new_rows(read))
			outcome = PAGE_REPEATED;
		return outcome;
	}
	stage_end_page(roster->stage);

	note_total(read, response->total_count, staged_before);
	read->new_rows_due = false;
	read->moved |= (request->overlaps && !read->overlap_came);
	read->unchecked |= (!request->overlaps && read->pages > 0);
	read->limit_ignored |= (read->pages == 0 && reader->rows > request->limit);
	read->counted |= (request->offset > 0 && read->page_numbers == 0 && !read->limit_is_end &&
					  request->overlaps == read->overlap_came &&
					  request->offset - (request->overlaps ? 1 : 0) + reader->rows > request->limit);
	new_rows = reader->rows - (read->overlap_came ? 1 : 0);
	read->last_was_full = (reader->rows >= request->limit || read->pages == 0);
	if (new_rows > 0)
	{
		read->page_was_full = (reader->rows >= request->limit);
		note_page(read);
		if (read->pages == 0 && read->nids > 0)
			read->first_id = read->ids[0];
		read->pages++;
		roster->run->pages++;
		read->rows += new_rows;
		if (request->overlaps && !read->overlap_came)
		{
			/* Rows moved, or the server has its own idea of the offset: those that are due are asked for too. */
			read->plain = true;
			read->last_was_full = true;
		}
		else
			read->position = request->offset - (request->overlaps ? 1 : 0) + reader->rows;
		if (read->nids > 0)
			read->last_id = read->ids[read->nids - 1];
		read->repeated += note_ids(read);
		read->without_id += reader->without_id;
		note_nameless_page(read);
		read->total_reached = (read->total >= 0 && read->rows >= read->total && count_distinct(read) == read->total);
		note_good_page(read, request);
		store_progress(roster->run, false);
	}
	commit_worker_transaction();
	if (read->overlap_forced && new_rows == 0)
		fault_raise(read->forced_by);
	read->overlap_forced = false;
	return PAGE_TAKEN;
}

/*
 * The overlap was refused: from here on pages are asked for without it.  What
 * may have been an accident is tried once more.
 */
static void
refuse_overlap(CollectionRead *read, OverlapFact how, bool may_be_accident)
{
	forget_requests(read);
	if (read->overlap_forced)
	{
		/* There is something behind the last row, and no other way to it than smaller pages. */
		if (read->page_size <= SMALLEST_PAGE)
			fault_raise(read->forced_by);
		read->page_size = Max(read->page_size / 2, SMALLEST_PAGE);
		return;
	}
	read->plain = true;
	read->overlap_was = how;
	read->overlap_accident = may_be_accident && read->roster->overlap_accidents++ == 0;
	read->refused_at = read->position;
	read->empty_inside |= (how == OVERLAP_EMPTY);
}

/* A page with new rows came where one that overlaps was refused: so that is how the server is. */
static void
learn_of_overlap(CollectionRead *read)
{
	RosterClient *client = read->roster->client;

	if (read->overlap_was == OVERLAP_GIVEN || read->refused_at >= read->position)
		return;
	if (read->overlap_accident)
		read->plain = false;
	else if (client->facts.overlap != read->overlap_was)
		learn_fact(&client->facts, "overlap", read->overlap_was == OVERLAP_EMPTY ? "empty" : "refused");
	read->overlap_was = OVERLAP_GIVEN;
}

/* What becomes of a collection whose page that is due was refused, in whatever way: read->pending. */
static void
judge_refusal(CollectionRead *read, const PageRequest *request)
{
	const HttpResponse *response = &request->get->response;
	int			status = response->status;
	bool		is_4xx = (status >= 400 && status < 500);

	if (read->ahead)
		drop_back(read);
	else if (read->pages == 0)
	{
		CollectionEnd end = request_was_denied(response) ? END_DENIED : END_NONE;

		if (!read->attempts_over)
			begin_with_less(read, end);
		else if (end == END_DENIED || has_unfiltered(read))
		{
			read->end = END_DENIED;
			read->fault = read->pending;
			finish(read);
		}
		else
			raise_pending(read);
	}
	else if (request->overlaps)
		refuse_overlap(read, OVERLAP_REFUSED, !is_4xx && status != 501 && !(status >= 300 && status < 400));
	else
	{
		read->end = END_REFUSED;
		read->end_is_4xx = is_4xx;
		read->end_words = status == 200 ? "an answer without a list" :
			MemoryContextStrdup(read->context, psprintf("status %d", status));
		forget_requests(read);
		decide(read);
	}
}

/* What becomes of a collection whose page that is due did not come. */
static void
judge_fault(CollectionRead *read, const PageRequest *request, RosterFault *fault)
{
	RosterRead *roster = read->roster;
	const HttpResponse *response = &request->get->response;

	if (request->get->slow && read->page_numbers == 0)
		halve_page(read);
	else if (response->fault == TRANSFER_TOO_LARGE && request->max_bytes < PAGE_MAX_BYTES)
	{
		/* Fewer at a time may be larger. */
		forget_requests(read);
		roster->requests = Max(roster->requests / 2, 1);
	}
	else if (request_was_refused(response))
	{
		read->pending = keep_fault(read, fault);
		judge_refusal(read, request);
	}
	else if (read->pages == 0 && request_was_denied(response))
	{
		read->end = END_DENIED;
		read->fault = keep_fault(read, fault);
		finish(read);
	}
	else if (read->ahead)
		drop_back(read);
	else
		fault_raise(fault);
}

/* What becomes of a collection whose page that is due was answered with a list without rows, or {}. */
static void
judge_empty_page(CollectionRead *read, const PageRequest *request)
{
	CollectionEnd end = read->reader.bare || read->reader.null_list ? END_EMPTY_OBJECT : END_EMPTY_PAGE;

	if (read->ahead && (request->overlaps || read->total >= 0))
		drop_back(read);
	else if (request->overlaps)
		refuse_overlap(read, OVERLAP_EMPTY, false);
	else if (read->pages == 0 && !read->attempts_over && !read->judge.collection->filtered)
	{
		read->pending = NULL;
		begin_with_less(read, end);
	}
	else
	{
		forget_requests(read);
		read->end = end;
		read->pending = NULL;
		decide(read);
	}
}

/* Takes what came of the page that is due.  Not inside a transaction. */
void
take_first_request(CollectionRead *read)
{
	PageRequest request = read->requests[0];
	RosterFault *fault = page_fault(read->roster->client, request.get);

	if (request.question != ASK_ROWS)
	{
		take_answer(read, &request, fault);
		return;
	}
	if (fault != NULL)
	{
		judge_fault(read, &request, fault);
		return;
	}
	switch (take_page(read, &request))
	{
		case PAGE_TAKEN:
			forget_first_request(read);
			learn_of_overlap(read);
			if (read->total_reached)
				decide(read);
			else if (read->nrequests > 0 && read->requests[0].offset != read->position)
				drop_back(read);
			break;
		case PAGE_AGAIN:
			break;
		case PAGE_UNREADABLE:
			judge_refusal(read, &request);
			break;
		case PAGE_EMPTY:
			judge_empty_page(read, &request);
			break;
		case PAGE_REPEATED:
			if (read->ahead)
				drop_back(read);
			else if (request.overlaps)
				refuse_overlap(read, OVERLAP_REFUSED, false);
			else
			{
				forget_requests(read);
				read->end = END_REPEATED;
				read->pending = repeated_fault(read);
				decide(read);
			}
			break;
		case PAGE_UNSURE:
			forget_requests(read);
			read->new_rows_due = true;
			if (request.overlaps && read->pages == 1)
				(void) ask_once(read, ASK_NUMBERED);
			break;
	}
}

/* Begins with an endpoint of the collection.  Sends nothing yet. */
void
begin_endpoint(CollectionRead *read, const char *path)
{
	RosterConnection *connection = read->roster->client->connection;

	read->path = path;
	read->judge.school_scoped = is_school_scoped(path);
	read->reader.path = collection_path(connection, path);
	read->whole_page_size = page_size_for(&read->roster->client->facts);
	read->page_size = Min(read->roster->page_size, read->whole_page_size);
	read->plain = read->roster->client->facts.overlap != OVERLAP_GIVEN;
	read->empty_inside = read->roster->client->facts.overlap == OVERLAP_EMPTY;
	read->attempts_over = false;
	read->done = false;
	ask_for_rows(read);
}

/* A collection of the roster from its first endpoint on, in the current memory context.  Sends nothing yet. */
CollectionRead *
begin_collection(RosterRead *roster, const RosterCollection *collection, int number)
{
	CollectionRead *read = palloc0(sizeof(CollectionRead));
	HASHCTL		hash_ctl = {.keysize = sizeof(uint64),.entrysize = sizeof(uint64),.hcxt = CurrentMemoryContext};

	read->roster = roster;
	read->number = number;
	read->context = CurrentMemoryContext;
	read->total = -1;
	read->judge.school_id = roster->client->connection->school_id;
	read->judge.collection = collection;
	initStringInfo(&read->detail);
	reader_of_rows(&read->reader, roster->client->connection, collection);
	read->reader.take_row = take_row;
	read->reader.taker = read;
	read->pages_seen = hash_create("minga_roster pages", 64, &hash_ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	read->fallbacks = collection->fallbacks;
	seen_ids_set_kind(roster->seen, number, collection->kind);
	begin_endpoint(read, collection->path);
	return read;
}
