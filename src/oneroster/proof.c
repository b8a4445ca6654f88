/*
 * proof.c
 *	  Whether a collection was read to its end.
 *
 * A list that breaks off unnoticed would archive the people on the rest of it.
 * So a collection is complete only where its end was seen: an empty page, or as
 * many different ids as the server claims in X-Total-Count.  A short page
 * proves nothing (servers cap and filter pages as they like), a total reached
 * at a full page neither until the next page is empty.  What cannot be a
 * truthful list, a page that comes twice or a total that changes, is an error.
 *
 * Where there is no total, no one knows who was passed over when the list moved
 * while it was read.  An id on two pages shows that it did.  So does a page that
 * does not begin with the last row of the one before, from which it is asked for
 * on.  Behind a short page, which is mostly the last one, none is asked for so;
 * where more rows come there, nothing is known, and the proof is weak as well.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/error.h"
#include "base/run_row.h"
#include "base/transaction.h"
#include "oneroster/collection_read.h"
#include "oneroster/endpoint.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/proof.h"
#include "oneroster/seen_ids.h"

#define ROUND_NUMBER 100
#define NAMELESS_PAGES_MAX 100	/* in a row, without one usable id: they may be the same one */

static int
compare_hashes(const void *a, const void *b)
{
	uint64		left = *(const uint64 *) a;
	uint64		right = *(const uint64 *) b;

	return left < right ? -1 : left > right;
}

/* Notes the ids of the page that was taken last; returns how many of its rows have the id of another one on it. */
int
note_ids(CollectionRead *read)
{
	int			repeated = 0;

	if (seen_ids_add(read->roster->seen, read->number, read->ids, read->nids) == 0 &&
		seen_ids_are_known(read->roster->seen, read->number))
		return 0;

	qsort(read->ids, read->nids, sizeof(uint64), compare_hashes);
	for (int i = 1; i < read->nids; i++)
		repeated += (read->ids[i] == read->ids[i - 1]);
	return repeated;
}

/* How many different ids the collection has.  In the open transaction. */
int64
count_distinct(CollectionRead *read)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(read->roster->client->connection->name),
		CStringGetTextDatum(read->judge.collection->name),
	CStringGetTextDatum(read->judge.collection->family)};
	bool		isnull;

	if (read->pages == 0)
		return 0;
	if (seen_ids_are_known(read->roster->seen, read->number))
		return seen_ids_count(read->roster->seen, read->number);
	execute_statement("SELECT minga_roster_internal.distinct_staged($1, $2, $3)", 3, types, values, NULL);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Whether the page was there before; one that only repeats the last row is none. */
bool
is_page_known(CollectionRead *read)
{
	if (read->nids == 0)
		return false;			/* nothing to know it by */
	return hash_search(read->pages_seen, &read->reader.ids_hash, HASH_FIND, NULL) != NULL;
}

/* How many of these ids the collection has not staged.  In the open transaction. */
int64
count_new(CollectionRead *read, const uint64 *ids, int nids)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, INT8ARRAYOID};
	Datum	   *elements;
	Datum		values[4];
	bool		isnull;

	if (seen_ids_are_known(read->roster->seen, read->number))
		return seen_ids_count_new(read->roster->seen, read->number, ids, nids);
	elements = palloc(Max(nids, 1) * sizeof(Datum));
	for (int i = 0; i < nids; i++)
		elements[i] = Int64GetDatum((int64) ids[i]);
	values[0] = CStringGetTextDatum(read->roster->client->connection->name);
	values[1] = CStringGetTextDatum(read->judge.collection->name);
	values[2] = CStringGetTextDatum(read->judge.collection->family);
	values[3] = PointerGetDatum(construct_array(elements, nids, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	execute_statement("SELECT minga_roster_internal.count_new($1, $2, $3, $4)", 4, types, values, NULL);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Remembers the page, which is not known. */
void
note_page(CollectionRead *read)
{
	(void) hash_search(read->pages_seen, &read->reader.ids_hash, HASH_ENTER, NULL);
}

/* What it means that a page comes twice where it is no end.  palloc'd, to live as long as the reading. */
RosterFault *
repeated_fault(CollectionRead *read)
{
	MemoryContext caller = MemoryContextSwitchTo(read->context);
	RosterFault *fault;

	fault = fault_make(ERRCODE_PROTOCOL_VIOLATION,
					   psprintf("the SIS sent the same page of %s twice", read->judge.collection->name),
					   psprintf("The page at offset " INT64_FORMAT " holds the same %d rows as one before it.",
								read->position, read->reader.rows),
					   "The SIS ignores the offset, so its list cannot be read to its end: ask the SIS vendor. "
					   "A larger page_size (roster_configure) may fetch the list in one page.");
	MemoryContextSwitchTo(caller);
	return fault;
}

/* What it means that no way leads to the rows behind the last one.  palloc'd, to live as long as the reading. */
RosterFault *
left_out_fault(CollectionRead *read)
{
	MemoryContext caller = MemoryContextSwitchTo(read->context);
	RosterFault *fault;

	fault = fault_make(ERRCODE_PROTOCOL_VIOLATION,
					   psprintf("the SIS leaves out rows of its %s", read->judge.collection->name),
					   psprintf("The page at offset " INT64_FORMAT " holds none, and asked for from "
								"the row before, there are some behind it.", read->position),
					   "Ask the SIS vendor: offset has to count rows.");
	MemoryContextSwitchTo(caller);
	return fault;
}

/* Servers cut lists at round numbers, and at whole pages. */
bool
is_round(int64 rows, int page_size)
{
	return rows % ROUND_NUMBER == 0 || rows % page_size == 0;
}

/* Pages that cannot be told apart would be asked for until the limit of pages. */
void
note_nameless_page(CollectionRead *read)
{
	read->nameless_pages = read->nids == 0 ? read->nameless_pages + 1 : 0;
	if (read->nameless_pages == NAMELESS_PAGES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the SIS sends %s without ids", read->judge.collection->name),
				 errdetail("None of the rows on the last %d pages, up to offset " INT64_FORMAT
						   ", has a usable sourcedId.",
						   read->nameless_pages, read->position),
				 errhint("People cannot be told apart without it: ask the SIS vendor.")));
}

/*
 * Keeps what the server claims as the number of rows; raises where it changes.
 * staged_before: rows of the run without those of the page that claims it.
 */
void
note_total(CollectionRead *read, int64 claimed, int64 staged_before)
{
	if (claimed < 0 || claimed == read->total)
		return;
	if (read->total < 0)
	{
		read->total = claimed;
		if (read->judge.collection->kind == PAGE_USERS) /* as rows_staged */
			read->roster->run->rows_expected = Max(read->roster->run->rows_expected, staged_before) + claimed;
	}
	else if (claimed > 0 || read->reader.rows > 0)	/* an empty page may say 0 */
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the number of %s changed while they were read", read->judge.collection->name),
				 errdetail("X-Total-Count was " INT64_FORMAT " and became " INT64_FORMAT " at offset " INT64_FORMAT ".",
						   read->total, claimed, read->position),
				 errhint("The SIS was being changed during the run. Start the run again when no one works in the SIS; "
						 "if it happens every night, ask the SIS vendor.")));
}

/* Adds a sentence to a detail. */
void
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

/*
 * Whether the list, which claims no total, ended with an empty page and nothing
 * speaks against it, but for rows that came twice.
 */
bool
looks_complete(const CollectionRead *read)
{
	return read->end == END_EMPTY_PAGE && read->total < 0 && !read->moved && !read->unchecked && !read->row_missing &&
		!read->limit_is_end && read->page_numbers == 0;
}

/*
 * Whether the empty page proves that nothing lies behind it.  The list from its
 * other end is the best witness.  Where the server keeps to one order, limit and
 * offset must be seen to count rows, no empty page may have come where rows are,
 * and the list must not end where a server would cut it: at a full page, or at
 * a round number of rows.
 */
static bool
is_end_proved(const CollectionRead *read)
{
	if (read->pages == 0 || read->last_seen)
		return true;
	return (read->counted || read->inside == INSIDE_ENDS) && read->inside != INSIDE_EMPTY &&
		!read->empty_inside && !read->page_was_full &&
		!is_round(read->rows, page_size_for(&read->roster->client->facts));
}

/*
 * Why the collection is not complete, as collections.weak_cause has it; says so
 * in its detail.
 */
static const char *
weak_cause(CollectionRead *read, int64 distinct, int64 moved)
{
	StringInfo	detail = &read->detail;
	const char *cause = NULL;

	if (read->end == END_EMPTY_OBJECT)
	{
		add_sentence(detail, "The SIS ended the list with an object without a list instead of an empty page.");
		cause = "end_object";
	}
	else if (read->end == END_REFUSED)
	{
		add_sentence(detail, "The SIS ended the list with %s instead of an empty page.", read->end_words);
		cause = "end_refused";
	}
	else if (read->end == END_REPEATED && read->limit_ignored)
	{
		add_sentence(detail, "The SIS sends the same rows whatever limit and offset say.");
		cause = "not_paged";
	}
	else if (read->end == END_REPEATED)
	{
		add_sentence(detail, "The SIS sent rows again instead of an empty page behind the last one.");
		cause = "end_repeated";
	}
	else if (read->limit_is_end)
	{
		add_sentence(detail, "The SIS takes limit for the offset at which a page ends; it was read so.");
		cause = "limit_as_end";
	}
	else if (read->page_numbers > 0)
	{
		add_sentence(detail, "The SIS takes offset for the number of a page; it was read so.");
		cause = "offset_as_page";
	}
	if (read->moved && read->total < 0)
	{
		add_sentence(detail, "A page did not begin with the last row of the one before it: the list moved while it was "
					 "read, and others may have been passed over.");
		cause = "moved";
	}
	else if (moved > 0)
	{
		add_sentence(detail,
					 "Rows that came on more than one page: " INT64_FORMAT "; the list moved while it "
					 "was read, and others may have been passed over.", moved);
		cause = "moved";
	}
	else if (read->unchecked && read->total < 0)
	{
		add_sentence(detail, "Whether the list moved while it was read, or is filtered page by page, could not be "
					 "seen: %s.",
					 read->plain ? "the SIS does not give pages from any offset" :
					 "a page before the last one was shorter than asked for");
		if (cause == NULL)
			cause = "unchecked";
	}
	if (read->total_is_unfiltered)
	{
		add_sentence(detail, "The SIS counts before it filters: for this list it claims the " INT64_FORMAT
					 " rows (X-Total-Count) "
					 "of the whole one, and it listed " INT64_FORMAT ". So nothing shows that these are "
					 "all; ask the SIS vendor for the number of rows that the filter leaves.",
					 read->total, distinct);
		cause = "total_unfiltered";
	}
	else if (read->total >= 0)
	{
		add_sentence(detail, "The SIS claims " INT64_FORMAT " rows (X-Total-Count) and listed " INT64_FORMAT
					 " different ones.",
					 read->total, distinct);
		cause = read->total > distinct ? "total_larger" : "total_smaller";
	}
	else
	{
		if (cause == NULL)
		{
			add_sentence(detail, "The list ends where a server may have cut it, and the SIS does not sort it from its "
						 "other end, which would show the last row.");
			cause = "end_unproved";
		}
		add_sentence(detail, "It claims no total that would prove the end.");
	}
	if (read->row_missing)
	{
		add_sentence(detail, "Sorted from its other end, the list begins with a person who is not on its pages: it is "
					 "incomplete.");
		cause = "row_missing";
	}
	return cause;
}

/* Judges the end of a collection and writes its row, in the open transaction. */
static void
store_collection(CollectionRead *read)
{
	static Oid	types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, INT4OID, INT8OID, INT8OID, INT8OID,
	INT8OID, INT8OID, BOOLOID, TEXTOID, TEXTOID};
	const RosterCollection *collection = read->judge.collection;
	RosterRun  *run = read->roster->run;
	StringInfo	detail = &read->detail;
	const char *proof = NULL;
	const char *cause = "denied";
	bool		complete = false;
	int64		distinct;
	int64		moved;
	Datum		values[15];
	char		nulls[] = "               ";

	distinct = count_distinct(read);
	moved = read->rows - read->without_id - read->repeated - distinct;
	if (read->end == END_BROKEN_OFF)
		cause = "broken_off";
	else if (read->end == END_DENIED)
		;
	else if (read->total >= 0 && distinct == read->total && !read->row_missing)
	{
		complete = true;
		proof = "total";
	}
	else if (looks_complete(read) && moved == 0 && is_end_proved(read))
	{
		complete = true;
		proof = "empty page";
	}
	else
	{
		proof = "weak";
		cause = weak_cause(read, distinct, moved);
	}
	if (read->without_id > 0)
	{
		if (complete)
			cause = "without_id";
		complete = false;
		add_sentence(detail, "Rows without a usable sourcedId: " INT64_FORMAT ".", read->without_id);
	}
	if (read->nowhere > 0)
	{
		if (complete)
			cause = "nowhere";
		complete = false;
		add_sentence(detail,
					 "Rows that name no school: " INT64_FORMAT "; in this list, which is not the "
					 "school's own, it can't be seen whether they are of the school.", read->nowhere);
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
	values[14] = complete ? (Datum) 0 : CStringGetTextDatum(cause);
	nulls[14] = complete ? 'n' : ' ';
	execute_statement("SELECT minga_roster_internal.store_collection($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, "
					  "$12, $13, $14, $15)",
					  lengthof(types), types, values, nulls);
}

/*
 * Writes the rows of the collections that have been read.  In a transaction of
 * its own, where there are any; it may run after an error, too.
 */
void
store_collections(RosterRun *run)
{
	ListCell   *cell;

	if (run->unstored == NIL)
		return;
	begin_worker_transaction();
	foreach(cell, run->unstored)
		store_collection(lfirst(cell));
	store_progress(run, true);
	commit_worker_transaction();
	forget_collections(run);
}

/* What has been read is not put on record. */
void
forget_collections(RosterRun *run)
{
	run->unstored = NIL;
}
