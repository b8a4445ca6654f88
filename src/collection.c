/*
 * collection.c
 *	  Reads collections, page after page, into the stage, and proves that each
 *	  was read to its end.
 *
 * A list that breaks off unnoticed would archive whoever was on the rest of it.
 * So a collection is complete only where its end was seen: an empty page, or as
 * many different ids as the server claims in X-Total-Count.  A short page
 * proves nothing (servers cap and filter pages as they like), a total reached
 * at a full page neither until the next page is empty.  What cannot be a
 * truthful list, a page that comes twice or a total that changes, is an error.
 * An id on two pages shows that the list moved while it was read: without a
 * total nobody knows who was passed over, and the proof is weak.  Where there
 * is no total, each page behind a full one is asked for from the last row of
 * that on, which has to come again: else rows before it came or went.
 *
 * Collections are read side by side, and pages of one at a time, as far as the
 * run may have requests in flight.  Pages are taken in the order of their
 * offsets, each only where it begins at the number of rows received so far, so
 * that what was read is what reading one after the other would have read.  A
 * page that does not fit drops its collection back to that: what was asked for
 * beyond it is thrown away, and asked for again.  Servers that are slow or ask
 * for a pause are asked one thing at a time from then on.
 *
 * Nothing is held while waiting for the network: each page is one transaction,
 * begun when it is there.  The pages in flight together may be as large as one
 * page alone (PAGE_MAX_BYTES); what grows with the roster is in the stage.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "fetch.h"

#define PAGES_MAX 100000
#define NAMELESS_PAGES_MAX 100	/* in a row, without one usable id: they may be the same one */
#define SMALL_PAGE 50			/* rows; smaller ones do not make a slow server faster */
#define PAGES_TO_GROW 3			/* after so many good ones a page size that was halved is doubled; later after more */
#define REQUESTS_MAX 16

/* How a collection came to its end. */
typedef enum CollectionEnd
{
	END_DENIED,					/* 403 or 404 at once */
	END_EMPTY_PAGE,
	END_TOTAL,					/* all ids of a total that did not change */
	END_EMPTY_OBJECT,			/* {} after a page */
	END_NOT_FOUND				/* 404 after a page */
} CollectionEnd;

/* What the collections of a run have in common. */
typedef struct RosterRead
{
	RosterClient *client;
	RosterRun  *run;
	Stage	   *stage;
	int			requests;		/* at a time, as far as they may be */
	int			in_flight;
	Size		bytes_in_flight;	/* at the most */
	int			page_size;		/* to begin a collection with */
} RosterRead;

/* A page that was asked for. */
typedef struct PageRequest
{
	int64		offset;			/* of the first row that is new */
	int			limit;
	bool		overlaps;		/* begins with the last row of the page before */
	Size		max_bytes;
	ClientGet  *get;
} PageRequest;

/* The reading of one collection. */
typedef struct CollectionRead
{
	RosterRead *roster;
	MemoryContext context;
	RowJudge	judge;
	PageReader	reader;
	const char *path;			/* as the preset has it: its own, or the fallback */
	StringInfoData detail;
	PageRequest requests[REQUESTS_MAX]; /* by offset, without gaps */
	int			nrequests;
	bool		ahead;			/* ask for pages ahead of the one that is due */
	bool		odd;			/* a page did not fit: never again */
	int			page_size;		/* rows asked for */
	int			whole_page_size;	/* where it was not halved */
	int			good_pages;		/* since it was */
	int			pages_to_grow;	/* so many of them double it */
	HTAB	   *pages_seen;		/* ids_hash of each page */
	uint64	   *ids;			/* hashes of the page that is being taken */
	int			nids;
	int			ids_size;
	uint64		last_id;		/* hash of the last row of the page before it */
	bool		last_was_full;	/* that page, or it was the first one */
	bool		overlap_is_due; /* the next row should be that one */
	bool		overlap_came;
	bool		moved;			/* it was another one */
	int			pages;
	int			nameless_pages;	/* of them, the last ones */
	int64		rows;
	int64		repeated;		/* ids that came again on the same page */
	int64		without_id;
	int64		elsewhere;
	int64		total;			/* claimed; -1: none */
	CollectionEnd end;
	bool		done;
	ClientFault *fault;			/* once done: why it was denied, or NULL */
} CollectionRead;

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
		read->elsewhere++;
	else
		read->roster->run->rows_staged++;
}

static int
compare_hashes(const void *a, const void *b)
{
	uint64		left = *(const uint64 *) a;
	uint64		right = *(const uint64 *) b;

	return left < right ? -1 : left > right;
}

/* How many rows of the page that was taken last have the id of another one on it. */
static int
count_repeated(CollectionRead *read)
{
	int			repeated = 0;

	qsort(read->ids, read->nids, sizeof(uint64), compare_hashes);
	for (int i = 1; i < read->nids; i++)
		repeated += (read->ids[i] == read->ids[i - 1]);
	return repeated;
}

/* In the open transaction. */
static int64
count_distinct(CollectionRead *read)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(read->judge.collection->name), CStringGetTextDatum(read->roster->client->connection->name)};
	bool		isnull;

	if (read->pages == 0)
		return 0;
	SPI_execute_with_args("SELECT minga_roster.distinct_staged(connection => $2, collection => $1)",
						  2, types, values, NULL, false, 1);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Whether the page was there before. */
static bool
is_page_known(CollectionRead *read)
{
	if (read->reader.rows == read->reader.without_id)
		return false;			/* nothing to know it by */
	return hash_search(read->pages_seen, &read->reader.ids_hash, HASH_FIND, NULL) != NULL;
}

static void
raise_known_page(const CollectionRead *read)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the SIS sent the same page of %s twice", read->judge.collection->name),
			 errdetail("The page at offset " INT64_FORMAT " holds the same %d rows as one before it.", read->rows, read->reader.rows),
			 errhint("The SIS ignores the offset, so its list cannot be read to its end: ask the SIS vendor. A larger page_size (roster_configure) may fetch the list in one page.")));
}

/* Pages that cannot be told apart would be asked for until the limit of pages. */
static void
note_nameless_page(CollectionRead *read)
{
	bool		nameless = (read->reader.rows == read->reader.without_id);

	read->nameless_pages = nameless ? read->nameless_pages + 1 : 0;
	if (read->nameless_pages == NAMELESS_PAGES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the SIS sends %s without ids", read->judge.collection->name),
				 errdetail("None of the rows on the last %d pages, up to offset " INT64_FORMAT ", has a usable sourcedId.",
						   read->nameless_pages, read->rows),
				 errhint("Without it nobody can be told from anybody else: ask the SIS vendor.")));
}

/* Keeps what the server claims as the number of rows; raises where it changes. */
static void
note_total(CollectionRead *read, int64 claimed)
{
	if (claimed < 0 || claimed == read->total)
		return;
	if (read->total < 0)
	{
		read->total = claimed;
		read->roster->run->rows_expected = Max(read->roster->run->rows_expected, read->roster->run->rows_staged) + claimed;
	}
	else if (claimed > 0 || read->reader.rows > 0)	/* an empty page may say 0 */
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the number of %s changed while they were read", read->judge.collection->name),
				 errdetail("X-Total-Count was " INT64_FORMAT " and became " INT64_FORMAT " at offset " INT64_FORMAT ".",
						   read->total, claimed, read->rows),
				 errhint("The SIS was being changed during the run; start it again when nobody works in the SIS. If it happens every night, ask the SIS vendor.")));
}

/* Asks for one page more. */
static void
request_page(CollectionRead *read, int64 offset, Size max_bytes)
{
	RosterRead *roster = read->roster;
	PageRequest *request = &read->requests[read->nrequests];
	MemoryContext caller = MemoryContextSwitchTo(read->context);

	request->offset = offset;
	request->limit = read->page_size;
	request->overlaps = (read->total < 0 && offset > 0 && request->limit > 1 &&
						 (offset > read->rows || read->last_was_full));
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
		int64		offset = read->rows;

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
 * not fit and was asked for among others: nothing of it is kept.
 */
static bool
take_page(CollectionRead *read, const PageRequest *request)
{
	RosterRead *roster = read->roster;
	PageReader *reader = &read->reader;
	HttpResponse *response = &request->get->response;
	int64		staged_before = roster->run->rows_staged;
	int64		elsewhere_before = read->elsewhere;
	ClientFault *fault;
	int			new_rows;

	begin_worker_transaction();
	read->nids = 0;
	read->overlap_is_due = request->overlaps;
	read->overlap_came = false;
	stage_begin_page(roster->stage, PAGE_USERS, read->judge.collection->name);
	fault = read_page(reader, response);
	if (fault == NULL && reader->bare && read->pages == 0 && !read->judge.collection->filtered)
		fault = page_without_rows(reader, "");
	if (read->ahead &&
		(fault != NULL || is_page_known(read) || (reader->rows == 0 && read->total >= 0 && read->rows < read->total)))
	{
		abort_worker_transaction();
		roster->run->rows_staged = staged_before;
		read->elsewhere = elsewhere_before;
		return false;
	}
	if (fault != NULL)
		client_raise(fault);
	stage_end_page(roster->stage);

	note_total(read, response->total_count);
	read->moved |= (request->overlaps && !read->overlap_came);
	new_rows = reader->rows - (read->overlap_came ? 1 : 0);
	read->last_was_full = (reader->rows >= request->limit || read->pages == 0);
	if (new_rows == 0 && reader->rows > 0)
		;						/* the end is there, and has to be seen */
	else if (reader->rows == 0)
	{
		read->end = reader->bare ? END_EMPTY_OBJECT : END_EMPTY_PAGE;
		read->done = true;
	}
	else
	{
		if (is_page_known(read))
			raise_known_page(read);
		(void) hash_search(read->pages_seen, &reader->ids_hash, HASH_ENTER, NULL);
		read->pages++;
		roster->run->pages++;
		read->rows += new_rows;
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
		drop_back(read);
	else
	{
		forget_first_request(read);
		if (read->nrequests > 0 && read->requests[0].offset != read->rows)
			drop_back(read);
	}
	if (read->done)
		forget_requests(read);
}

/* Adds a sentence to a detail. */
static void pg_attribute_printf(2, 3)
add_sentence(StringInfo detail, const char *format,...)
{
	int			needed;

	if (detail->len > 0)
		appendStringInfoChar(detail, ' ');
	do
	{
		va_list		args;

		va_start(args, format);
		needed = appendStringInfoVA(detail, format, args);
		va_end(args);
		if (needed > 0)
			enlargeStringInfo(detail, needed);
	} while (needed > 0);
}

/* Judges the end of a collection and writes its row, in a transaction of its own. */
static void
store_collection(CollectionRead *read)
{
	static Oid	types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, BOOLOID, TEXTOID};
	const RosterCollection *collection = read->judge.collection;
	RosterRun  *run = read->roster->run;
	StringInfo	detail = &read->detail;
	const char *proof = NULL;
	bool		complete = false;
	int64		distinct;
	int64		moved;
	Datum		values[14];
	char		nulls[] = "              ";

	begin_worker_transaction();
	distinct = count_distinct(read);
	moved = read->rows - read->without_id - read->repeated - distinct;
	if (read->end == END_DENIED)
		;
	else if (read->total >= 0 && distinct == read->total)
	{
		complete = true;
		proof = "total";
	}
	else if (read->end == END_EMPTY_PAGE && read->total < 0 && moved == 0 && !read->moved)
	{
		complete = true;
		proof = "empty page";
	}
	else
	{
		proof = "weak";
		if (read->end == END_EMPTY_OBJECT)
			add_sentence(detail, "The SIS ended the list with an object without a list instead of an empty page.");
		if (read->end == END_NOT_FOUND)
			add_sentence(detail, "The SIS ended the list with status 404 instead of an empty page.");
		if (moved > 0)
			add_sentence(detail, "Rows that came on more than one page: " INT64_FORMAT "; the list moved while it was read, and others may have been passed over.", moved);
		else if (read->moved && read->total < 0)
			add_sentence(detail, "A page did not begin with the last row of the one before it: the list moved while it was read, and others may have been passed over.");
		if (read->total >= 0)
			add_sentence(detail, "The SIS claims " INT64_FORMAT " rows (X-Total-Count) and listed " INT64_FORMAT " different ones.", read->total, distinct);
		else
			add_sentence(detail, "It claims no total that would prove the end.");
	}
	if (read->without_id > 0)
	{
		complete = false;
		add_sentence(detail, "Rows without a usable sourcedId: " INT64_FORMAT ".", read->without_id);
	}

	values[0] = Int64GetDatum(run->run);
	values[1] = CStringGetTextDatum(read->roster->client->connection->name);
	values[2] = CStringGetTextDatum(collection->name);
	values[3] = CStringGetTextDatum(collection->family);
	values[4] = BoolGetDatum(complete);
	values[5] = proof == NULL ? (Datum) 0 : CStringGetTextDatum(proof);
	nulls[5] = proof == NULL ? 'n' : ' ';
	values[6] = Int32GetDatum(read->pages);
	values[7] = Int64GetDatum(read->rows);
	values[8] = Int64GetDatum(distinct);
	values[9] = Int64GetDatum(read->total);
	nulls[9] = read->total < 0 ? 'n' : ' ';
	values[10] = Int64GetDatum(read->without_id);
	values[11] = Int64GetDatum(read->elsewhere);
	values[12] = BoolGetDatum(read->end != END_DENIED && read->path != collection->path);
	values[13] = CStringGetTextDatum(detail->data);
	nulls[13] = detail->len == 0 ? 'n' : ' ';
	SPI_execute_with_args("SELECT minga_roster.store_collection($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
						  lengthof(types), types, values, nulls, false, 0);
	store_progress(run, true);
	commit_worker_transaction();
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
		if (read->path == collection->path && collection->fallback != NULL)
		{
			read->fault = NULL;
			begin_endpoint(read, collection->fallback);
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
