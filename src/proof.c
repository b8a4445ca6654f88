/*
 * proof.c
 *	  Whether a collection was read to its end.
 *
 * A list that breaks off unnoticed would archive whoever was on the rest of it.
 * So a collection is complete only where its end was seen: an empty page, or as
 * many different ids as the server claims in X-Total-Count.  A short page
 * proves nothing (servers cap and filter pages as they like), a total reached
 * at a full page neither until the next page is empty.  What cannot be a
 * truthful list, a page that comes twice or a total that changes, is an error.
 *
 * Where there is no total, nobody knows who was passed over when the list moved
 * while it was read.  An id on two pages shows that it did.  So does a page that
 * does not begin with the last row of the one before, from which it is asked for
 * on.  Behind a short page, which is mostly the last one, none is asked for so;
 * where more rows come there, nothing is known, and the proof is weak as well.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "collection.h"

#define NAMELESS_PAGES_MAX 100	/* in a row, without one usable id: they may be the same one */

static int
compare_hashes(const void *a, const void *b)
{
	uint64		left = *(const uint64 *) a;
	uint64		right = *(const uint64 *) b;

	return left < right ? -1 : left > right;
}

/* How many rows of the page that was taken last have the id of another one on it. */
int
count_repeated(CollectionRead *read)
{
	int			repeated = 0;

	qsort(read->ids, read->nids, sizeof(uint64), compare_hashes);
	for (int i = 1; i < read->nids; i++)
		repeated += (read->ids[i] == read->ids[i - 1]);
	return repeated;
}

/* In the open transaction. */
int64
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

/* Whether the page was there before; one that only repeats the last row is none. */
bool
is_page_known(CollectionRead *read)
{
	if (read->nids == 0)
		return false;			/* nothing to know it by */
	return hash_search(read->pages_seen, &read->reader.ids_hash, HASH_FIND, NULL) != NULL;
}

/* Remembers the page, which must not have been there before. */
void
note_page(CollectionRead *read)
{
	if (is_page_known(read))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the SIS sent the same page of %s twice", read->judge.collection->name),
				 errdetail("The page at offset " INT64_FORMAT " holds the same %d rows as one before it.", read->position, read->reader.rows),
				 errhint("The SIS ignores the offset, so its list cannot be read to its end: ask the SIS vendor. A larger page_size (roster_configure) may fetch the list in one page.")));
	(void) hash_search(read->pages_seen, &read->reader.ids_hash, HASH_ENTER, NULL);
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
				 errdetail("None of the rows on the last %d pages, up to offset " INT64_FORMAT ", has a usable sourcedId.",
						   read->nameless_pages, read->position),
				 errhint("Without it nobody can be told from anybody else: ask the SIS vendor.")));
}

/* Keeps what the server claims as the number of rows; raises where it changes. */
void
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
						   read->total, claimed, read->position),
				 errhint("The SIS was being changed during the run; start it again when nobody works in the SIS. If it happens every night, ask the SIS vendor.")));
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

/* Judges the end of a collection and writes its row, in a transaction of its own. */
void
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
	else if (read->end == END_EMPTY_PAGE && read->total < 0 && moved == 0 && !read->moved && !read->unchecked)
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
		else if (read->unchecked && read->total < 0)
			add_sentence(detail, "Whether the list moved while it was read, or is filtered page by page, could not be seen: %s.",
						 read->plain ? "the SIS does not give pages from any offset" : "a page before the last one was shorter than asked for");
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
	if (read->nowhere > 0)
	{
		complete = false;
		add_sentence(detail, "Rows that name no school: " INT64_FORMAT "; in this list, which is not the school's own, "
					 "it can't be seen whether they are of the school.", read->nowhere);
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
