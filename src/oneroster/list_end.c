/*
 * list_end.c
 *	  What becomes of a list that seems to have ended: questions are asked until
 *	  it is known, or as well as it can be.
 *
 * What looks like an end is one only at or beyond the rows received.  Where
 * anything but an empty list came there, or an empty list that may prove nothing,
 * questions are asked (decide), one at a time, whose answers are not staged.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/transaction.h"
#include "net/http.h"
#include "oneroster/attempt.h"
#include "oneroster/client.h"
#include "oneroster/collection_read.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/list_end.h"
#include "oneroster/page.h"
#include "oneroster/proof.h"
#include "oneroster/row_values.h"

/* Raises what came in the place of an end. */
void
raise_pending(CollectionRead *read)
{
	fault_raise(read->pending);
}

/* Whether more rows are known than lie before the one that is due.  In a transaction of its own. */
static bool
is_behind(CollectionRead *read)
{
	bool		is_behind = false;

	if (read->moved)
	{
		begin_worker_transaction();
		is_behind = count_distinct(read) > read->position;
		commit_worker_transaction();
	}
	return is_behind;
}

/*
 * What becomes of a list that seems to have ended at the rows received, as far
 * as is known: it is done, or a question is asked, or the rows go on, or what
 * came in the place of an end is raised.
 */
void
decide(CollectionRead *read)
{
	RosterClient *client = read->roster->client;
	bool		certain = true;

	if (read->pages == 0)
	{
		finish(read);
		return;
	}
	/* A total that came once might be that of its page. */
	if (read->total_reached)
	{
		if (read->pages > 1 || !ask_once(read, ASK_LAST_FIRST))
			finish(read);
		return;
	}

	if (read->end == END_REPEATED && !read->limit_ignored)
	{
		if (ask_once(read, ASK_TWO) || ask_once(read, ASK_INSIDE))
			return;
		if ((read->inside != INSIDE_ENDS && (read->page_was_full || !read->counted)) || is_behind(read))
			raise_pending(read);
	}
	else if (read->end == END_REPEATED && is_round(read->rows, page_size_for(&client->facts)))
	{
		/* All the rows, or the first of them, whatever was asked for? */
		if (ask_once(read, ASK_LAST_FIRST))
			return;
		if (!read->last_seen)
			raise_pending(read);
	}
	if ((read->end == END_REFUSED || read->end == END_EMPTY_OBJECT) && ask_once(read, ASK_INSIDE))
		return;
	if (read->inside == INSIDE_GOES_ON && read->end == END_REFUSED && !read->end_is_4xx)
		raise_pending(read);
	if (read->inside == INSIDE_GOES_ON)
	{
		RosterFault *forced_by = read->pending != NULL ? read->pending : left_out_fault(read);

		ask_for_rows(read);
		read->overlap_forced = true;
		read->forced_by = forced_by;
		return;
	}
	if (read->end == END_REFUSED && read->inside != INSIDE_ENDS)
		certain = !read->page_was_full || (read->end_is_4xx && read->pages > 1);
	if (!certain)
	{
		if (ask_once(read, ASK_LAST_FIRST))
			return;
		if (!read->last_seen)
			raise_pending(read);
	}

	/* Rows are missing, or may be: does the server count otherwise? */
	if (((read->total >= 0 && read->rows < read->total) || read->empty_inside || read->row_missing ||
		 read->inside == INSIDE_EMPTY) &&
		!read->counted && !read->limit_is_end && !read->limit_ignored && read->page_numbers == 0)
	{
		if (ask_once(read, ASK_WIDER))
			return;
		if (read->pages == 1 && ask_once(read, ASK_NUMBERED))
			return;
	}
	if (read->total < 0 && !client->facts.no_order && ask_once(read, ASK_LAST_FIRST))
		return;
	if (looks_complete(read) && !read->last_seen && !read->counted && ask_once(read, ASK_INSIDE))
		return;
	if (read->end == END_REPEATED && read->limit_ignored)
		learn_fact(&client->facts, "paging", "none");
	finish(read);
}

static void
take_answer_row(void *taker, PageRow *row)
{
	CollectionRead *read = taker;

	if (read->nanswer_ids < ANSWER_IDS)
		read->answer_ids[read->nanswer_ids++] = row->id_hash;
}

/* How many of the answer's first rows have not been staged. */
static int64
count_new_in_answer(CollectionRead *read)
{
	int64		count = 0;

	if (read->nanswer_ids > 0)
	{
		begin_worker_transaction();
		count = count_new(read, read->answer_ids, read->nanswer_ids);
		commit_worker_transaction();
	}
	return count;
}

/* What the list, asked for from its other end, says of the end that was reached. */
static void
judge_last_first(CollectionRead *read, bool answered, bool refused)
{
	RosterClient *client = read->roster->client;
	uint64		first = read->answer_ids[0];

	if (!answered || read->nanswer_ids == 0)
	{
		if (refused && !client->facts.no_order)
			learn_fact(&client->facts, "order", "refused");
		return;
	}
	if (first == read->last_id && (first != read->first_id || (read->rows == 1 && read->answer_rows == 1)))
		read->last_seen = !client->facts.no_order || read->rows == 1;
	else if (first == read->first_id)
	{
		if (!client->facts.no_order && !client->facts.no_sort)
			learn_fact(&client->facts, "order", "ignored");
	}
	else
		read->row_missing = (count_new_in_answer(read) > 0);
}

/* The first page is as it is asked for from now on. */
static void
end_attempts(CollectionRead *read)
{
	RosterFault *pending = read->pending;
	CollectionEnd end = read->end;

	read->attempts_over = true;
	ask_for_rows(read);
	if (read->attempt.helped)
	{
		read->whole_page_size = page_size_for(&read->roster->client->facts);
		read->page_size = Min(read->page_size, read->whole_page_size);
		return;
	}
	read->end = end;
	if (end == END_DENIED || (pending != NULL && has_unfiltered(read)))
	{
		read->end = END_DENIED;
		read->fault = pending;
	}
	else if (pending != NULL)
		fault_raise(pending);
	finish(read);
}

/* Takes the answer to a question. */
void
take_answer(CollectionRead *read, const PageRequest *request, RosterFault *fault)
{
	RosterClient *client = read->roster->client;
	HttpResponse *response = &request->get->response;
	int			status = response->status;
	int64		total = -1;
	PageReader	reader = read->reader;

	reader.take_row = take_answer_row;
	reader.rows = 0;
	reader.bare = reader.null_list = false;
	read->nanswer_ids = 0;
	if (fault == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(request->get->context);

		total = response->total_count;
		fault = read_page(&reader, response);
		MemoryContextSwitchTo(caller);
		client_count_rows(client, reader.rows);
	}
	read->answer_rows = reader.rows;

	switch (request->question)
	{
		case ASK_ROWS:
			break;
		case ASK_LESS:
			{
				bool		answered = is_page_there(&reader, fault, read->pending == NULL);

				forget_requests(read);
				if (!judge_attempt(&client->facts, &read->attempt, answered))
					end_attempts(read);
				return;
			}
		case ASK_LAST_FIRST:
			if (fault == NULL && reader.rows > 0)
				note_total(read, read->total < 0 ? -1 : total, read->roster->run->rows_staged);
			judge_last_first(read, fault == NULL, status == 501 || (status >= 400 && status < 500));
			break;
		case ASK_INSIDE:
			if (fault == NULL && reader.rows == 0 && !reader.bare)
				read->inside = INSIDE_EMPTY;
			else if (fault == NULL && read->nanswer_ids > 0 &&
					 (read->answer_ids[0] == read->last_id || read->answer_ids[read->nanswer_ids - 1] == read->last_id))
				read->inside = count_new_in_answer(read) > 0 ? INSIDE_GOES_ON : INSIDE_ENDS;
			break;
		case ASK_WIDER:
			if (fault == NULL && count_new_in_answer(read) > 0)
			{
				learn_fact(&client->facts, "paging", "limit as end");
				read->limit_is_end = true;
				read->plain = read->odd = true;
				ask_for_rows(read);
				return;
			}
			break;
		case ASK_NUMBERED:
		case ASK_NUMBERED_FROM_1:
			if (fault == NULL && reader.rows > 0 && reader.ids_hash != read->reader.ids_hash &&
				count_new_in_answer(read) == read->nanswer_ids)
			{
				learn_fact(&client->facts, "paging", "offset as page");
				read->page_numbers = request->question == ASK_NUMBERED ? 1 : 2;
				read->plain = read->odd = true;
				ask_for_rows(read);
				return;
			}
			if (fault == NULL && request->question == ASK_NUMBERED && read->nanswer_ids > 0 &&
				read->answer_ids[0] == read->first_id && ask_once(read, ASK_NUMBERED_FROM_1))
				return;
			break;
		case ASK_TWO:
			read->limit_ignored = (fault == NULL && reader.rows > request->limit);
			break;
	}
	forget_requests(read);
	if (read->new_rows_due)
		read->question = ASK_ROWS;
	else
		decide(read);
}

/* Looks for what the first page is refused for; with pending NULL, why it is empty. */
void
begin_with_less(CollectionRead *read, CollectionEnd end)
{
	read->end = end;
	begin_attempts(&read->attempt, read->page_size);
	(void) ask_once(read, ASK_LESS);
}
