/*
 * fetch.c
 *	  Reads the roster of a connection, collection by collection, into the stage,
 *	  and proves that each was read to its end.
 *
 * A list that breaks off unnoticed would archive whoever was on the rest of it.
 * So a collection is complete only where its end was seen: an empty page, or as
 * many different ids as the server claims in X-Total-Count.  A short page
 * proves nothing (servers cap and filter pages as they like), a total reached
 * at a full page neither until the next page is empty.  What cannot be a
 * truthful list, a page that comes twice or a total that changes, is an error.
 *
 * Nothing is held while waiting for the network: each page is one transaction,
 * begun when it is there.  Memory is that of one page; what grows with the
 * roster is in the stage.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "fetch.h"

#define PAGES_MAX 100000

/* How a collection came to its end. */
typedef enum CollectionEnd
{
	END_DENIED,					/* 403 or 404 at once */
	END_EMPTY_PAGE,
	END_TOTAL,					/* all ids of a total that did not change */
	END_EMPTY_OBJECT,			/* {} after a page */
	END_NOT_FOUND				/* 404 after a page */
} CollectionEnd;

/* The reading of one endpoint. */
typedef struct CollectionRead
{
	RosterClient *client;
	RosterRun  *run;
	Stage	   *stage;
	RowJudge	judge;
	PageReader	reader;
	HTAB	   *pages_seen;		/* ids_hash of each page */
	int			first_rows;		/* of the first page: the page size from then on */
	int			pages;
	int64		rows;
	int64		without_id;
	int64		elsewhere;
	int64		total;			/* claimed; -1: none */
	int64		distinct;		/* -1: not counted */
	CollectionEnd end;
} CollectionRead;

/*
 * The collections to be read by the run, in order, palloc'd in the current
 * memory context.  Not inside a transaction.
 */
List *
load_collections(RosterConnection *connection, const RosterRun *run)
{
	MemoryContext owner = CurrentMemoryContext;
	List	   *collections = NIL;
	Oid			types[] = {TEXTOID, INT8OID};
	Datum		values[2];

	begin_worker_transaction();
	values[0] = CStringGetTextDatum(connection->name);
	values[1] = Int64GetDatum(run->run);
	SPI_execute_with_args("SELECT collection, family, path, fallback, roles, filtered FROM minga_roster.collections_to_read($1, "
						  "(SELECT modified_since FROM minga_roster.runs WHERE run = $2 AND NOT is_full))",
						  2, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		MemoryContext caller = MemoryContextSwitchTo(owner);
		RosterCollection *collection = palloc0(sizeof(RosterCollection));
		char	  **texts[] = {&collection->name, &collection->family, &collection->path, &collection->fallback};
		Datum	   *roles;
		Datum		role_array;
		bool		isnull;

		for (int column = 1; column <= 4; column++)
		{
			char	   *value = SPI_getvalue(tuple, tupdesc, column);

			*texts[column - 1] = value == NULL ? NULL : MemoryContextStrdup(owner, value);
		}
		role_array = SPI_getbinval(tuple, tupdesc, 5, &isnull);
		deconstruct_array(DatumGetArrayTypeP(role_array), TEXTOID, -1, false, TYPALIGN_INT,
						  &roles, NULL, &collection->nroles);
		collection->roles = palloc0((collection->nroles + 1) * sizeof(char *));
		for (int role = 0; role < collection->nroles; role++)
			collection->roles[role] = TextDatumGetCString(roles[role]);
		collection->filtered = DatumGetBool(SPI_getbinval(tuple, tupdesc, 6, &isnull));
		collections = lappend(collections, collection);
		MemoryContextSwitchTo(caller);
	}
	commit_worker_transaction();
	return collections;
}

bool
is_school_scoped(const char *path)
{
	return strstr(path, "{school}") != NULL;
}

/* The path of a preset with the School ID in its place.  palloc'd. */
char *
collection_path(RosterConnection *connection, const char *path)
{
	const char *place = strstr(path, "{school}");

	if (place == NULL)
		return pstrdup(path);
	return psprintf("%.*s%s%s", (int) (place - path), path, url_encode(connection->school_id),
					place + strlen("{school}"));
}

static bool
text_equals(const text *value, const char *string)
{
	Size		len = strlen(string);

	return VARSIZE(value) - VARHDRSZ == len && memcmp(VARDATA(value), string, len) == 0;
}

/* What is the same for every page of a collection; a role that ended before yesterday is over wherever the school is. */
void
reader_of_users(PageReader *reader, RosterConnection *connection, const RosterCollection *collection)
{
	int			year;
	int			month;
	int			day;

	memset(reader, 0, sizeof(PageReader));
	reader->kind = PAGE_USERS;
	reader->subject = collection->name;
	reader->school_id = connection->school_id;
	j2date(roster_clock_now() / USECS_PER_DAY + POSTGRES_EPOCH_JDATE - 1, &year, &month, &day);
	snprintf(reader->ended_before, sizeof(reader->ended_before), "%04d-%02d-%02d", year % 10000, month % 100, day % 100);
}

/*
 * Whether the user is none of this school's, or of a role that was not asked
 * for: the filter of a request is checked again, since servers ignore them.
 * Contacts are told by the students who name them, not by their schools.  What
 * cannot be read is never elsewhere.
 */
bool
is_elsewhere(const RowJudge *judge, const PageRow *row)
{
	const RosterCollection *collection = judge->collection;
	const text *role = row->texts[ROW_ROLE];

	if (strcmp(collection->family, "contact") != 0 && !row->orgs_unclear)
	{
		bool		listed = (row->orgs.count == 0 && judge->school_scoped && !row->roles_over);

		for (int i = 0; i < row->orgs.count && !listed; i++)
			listed = text_equals((text *) DatumGetPointer(row->orgs.ids[i]), judge->school_id);
		if (!listed)
			return true;
	}
	if (!judge->school_scoped && collection->nroles > 0 && role != NULL && !row->role_unclear)
	{
		for (int i = 0; i < collection->nroles; i++)
		{
			if (text_equals(role, collection->roles[i]))
				return false;
			for (int held = 0; held < row->roles.count; held++)
			{
				if (text_equals((text *) DatumGetPointer(row->roles.ids[held]), collection->roles[i]))
					return false;
			}
		}
		return true;
	}
	return false;
}

/* The key may not, or the endpoint is not there. */
bool
is_denied(const HttpResponse *response)
{
	return response->status == 403 || response->status == 404;
}

static void
release_response(void *response)
{
	http_release(response);
}

/*
 * Asks for a page.  NULL: its 200 is in *response; else the fault, with
 * (*response)->status as answered, 0 where nothing was.  Fault and response,
 * body included, live in the current memory context.  Not inside a
 * transaction.
 */
ClientFault *
get_page(RosterClient *client, const char *path, int limit, int64 offset, HttpResponse **response)
{
	char	   *url = client_url(client, path, limit, offset);
	MemoryContextCallback *release = palloc0(sizeof(MemoryContextCallback));
	ClientFault *fault;

	*response = palloc0(sizeof(HttpResponse));
	(*response)->total_count = -1;
	fault = client_try_get(client, url, *response);
	release->func = release_response;
	release->arg = *response;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, release);
	if (fault == NULL && (*response)->status != 200)
		fault = client_status_fault(client, url, *response);
	return fault;
}

static void
take_user(void *taker, PageRow *row)
{
	CollectionRead *read = taker;
	bool		elsewhere = is_elsewhere(&read->judge, row);

	stage_user(read->stage, row, elsewhere);
	if (elsewhere)
		read->elsewhere++;
	else
		read->run->rows_staged++;
}

/* In the open transaction. */
static int64
count_distinct(CollectionRead *read)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(read->judge.collection->name), CStringGetTextDatum(read->client->connection->name)};
	bool		isnull;

	if (read->pages == 0)
		return 0;
	SPI_execute_with_args("SELECT minga_roster.distinct_staged(connection => $2, collection => $1)",
						  2, types, values, NULL, false, 1);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Raises unless the page was never there before. */
static void
check_page_is_new(CollectionRead *read)
{
	bool		found;

	if (read->reader.rows == read->reader.without_id)
		return;					/* nothing to know it by */
	hash_search(read->pages_seen, &read->reader.ids_hash, HASH_ENTER, &found);
	if (found)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the SIS sent the same page of %s twice", read->judge.collection->name),
				 errdetail("The page at offset " INT64_FORMAT " holds the same %d rows as one before it.", read->rows, read->reader.rows),
				 errhint("The SIS ignores the offset, so its list cannot be read to its end: ask the SIS vendor. A larger page_size (roster_configure) may fetch the list in one page.")));
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
		read->run->rows_expected = Max(read->run->rows_expected, read->run->rows_staged) + claimed;
	}
	else if (claimed > 0 || read->reader.rows > 0)	/* an empty page may say 0 */
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the number of %s changed while they were read", read->judge.collection->name),
				 errdetail("X-Total-Count was " INT64_FORMAT " and became " INT64_FORMAT " at offset " INT64_FORMAT ".",
						   read->total, claimed, read->rows),
				 errhint("The SIS was being changed during the run; start it again when nobody works in the SIS. If it happens every night, ask the SIS vendor.")));
}

/*
 * Stages one page in a transaction of its own; false where the collection is
 * at its end.
 */
static bool
take_page(CollectionRead *read, HttpResponse *response)
{
	PageReader *reader = &read->reader;
	ClientFault *fault;
	bool		more = true;

	begin_worker_transaction();
	stage_begin_page(read->stage, PAGE_USERS, read->judge.collection->name);
	fault = read_page(reader, response);
	if (fault == NULL && reader->bare && read->pages == 0 && !read->judge.collection->filtered)
		fault = page_without_rows(reader, "");
	if (fault != NULL)
		client_raise(fault);
	stage_end_page(read->stage);

	note_total(read, response->total_count);
	if (reader->rows == 0)
	{
		read->end = reader->bare ? END_EMPTY_OBJECT : END_EMPTY_PAGE;
		more = false;
	}
	else
	{
		check_page_is_new(read);
		read->pages++;
		read->run->pages++;
		read->rows += reader->rows;
		read->without_id += reader->without_id;
		if (read->first_rows == 0)
			read->first_rows = reader->rows;
		if (read->total >= 0 && read->rows >= read->total && reader->rows < read->first_rows)
		{
			if (count_distinct(read) == read->total)
			{
				read->end = END_TOTAL;
				more = false;
			}
		}
		store_progress(read->run, false);
	}
	commit_worker_transaction();
	return more;
}

/*
 * Reads one endpoint to its end.  NULL, or the fault with which it denied
 * itself (read->end END_DENIED); raises any other.
 */
static ClientFault *
read_endpoint(CollectionRead *read, const char *template)
{
	RosterConnection *connection = read->client->connection;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "minga_roster page of a collection", ALLOCSET_DEFAULT_SIZES);
	char	   *path = collection_path(connection, template);
	bool		more = true;

	read->judge.school_scoped = is_school_scoped(template);
	read->reader.path = path;
	while (more)
	{
		HttpResponse *response;
		ClientFault *fault;

		MemoryContextReset(context);
		if (read->pages == PAGES_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the SIS does not come to an end of its %s", read->judge.collection->name),
					 errdetail("%d pages with " INT64_FORMAT " rows were read.", read->pages, read->rows),
					 errhint("Ask the SIS vendor, or ask for larger pages with roster_configure(page_size => ...).")));

		MemoryContextSwitchTo(context);
		fault = get_page(read->client, path, read->first_rows > 0 ? read->first_rows : connection->page_size,
						 read->rows, &response);
		if (fault != NULL)
		{
			if (read->pages == 0 && is_denied(response))
			{
				MemoryContextSwitchTo(caller);
				read->end = END_DENIED;
				return fault;
			}
			if (response->status != 404)
				client_raise(fault);
			read->end = END_NOT_FOUND;
			break;
		}
		more = take_page(read, response);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return NULL;
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
store_collection(CollectionRead *read, bool fallback, StringInfo detail)
{
	static Oid	types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, BOOLOID, TEXTOID};
	const RosterCollection *collection = read->judge.collection;
	const char *proof = NULL;
	bool		complete = false;
	int64		distinct;
	Datum		values[14];
	char		nulls[] = "              ";

	begin_worker_transaction();
	distinct = count_distinct(read);
	if (read->end == END_DENIED)
		;
	else if (read->total >= 0 && distinct == read->total)
	{
		complete = true;
		proof = "total";
	}
	else if (read->end == END_EMPTY_PAGE && read->total < 0)
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

	values[0] = Int64GetDatum(read->run->run);
	values[1] = CStringGetTextDatum(read->client->connection->name);
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
	values[12] = BoolGetDatum(fallback);
	values[13] = CStringGetTextDatum(detail->data);
	nulls[13] = detail->len == 0 ? 'n' : ' ';
	SPI_execute_with_args("SELECT minga_roster.store_collection($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
						  lengthof(types), types, values, nulls, false, 0);
	store_progress(read->run, true);
	commit_worker_transaction();
}

/*
 * Reads a collection, by its fallback where its own endpoint is denied.  NULL,
 * or the fault where both are.
 */
static ClientFault *
read_collection(RosterClient *client, RosterRun *run, Stage *stage, RosterCollection *collection)
{
	HASHCTL		hash_ctl = {.keysize = sizeof(uint64),.entrysize = sizeof(uint64),.hcxt = CurrentMemoryContext};
	CollectionRead read = {.client = client,.run = run,.stage = stage,.total = -1};
	ClientFault *fault;
	StringInfoData detail;
	bool		fallback = false;

	initStringInfo(&detail);
	read.judge.school_id = client->connection->school_id;
	read.judge.collection = collection;
	reader_of_users(&read.reader, client->connection, collection);
	read.reader.take_row = take_user;
	read.reader.taker = &read;
	read.pages_seen = hash_create("minga_roster pages", 64, &hash_ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	fault = read_endpoint(&read, collection->path);
	if (fault != NULL)
	{
		add_sentence(&detail, "%s: %s.", collection->path, fault->message);
		if (collection->fallback != NULL)
		{
			fault = read_endpoint(&read, collection->fallback);
			fallback = (fault == NULL);
			if (fault == NULL)
				add_sentence(&detail, "Read from %s instead.", collection->fallback);
			else
				add_sentence(&detail, "%s: %s.", collection->fallback, fault->message);
		}
	}
	store_collection(&read, fallback, &detail);
	return fault;
}

/* Says in the run's row whether it asks only for what changed.  In a transaction of its own, as the next one. */
static void
begin_read(RosterRun *run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};

	begin_worker_transaction();
	SPI_execute_with_args("SELECT minga_roster.begin_read($1)", 1, types, values, NULL, false, 0);
	commit_worker_transaction();
}

/* Whether rows came that were not asked for; the stage is empty and the run a full one then. */
static bool
filter_is_ignored(RosterRun *run, RosterCollection *collection)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(run->run), CStringGetTextDatum(collection->name)};
	bool		isnull;
	bool		ignored;

	begin_worker_transaction();
	SPI_execute_with_args("SELECT minga_roster.filter_is_ignored($1, $2)", 2, types, values, NULL, false, 1);
	ignored = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	commit_worker_transaction();
	if (ignored)
	{
		run->rows_staged = 0;
		run->rows_expected = -1;
	}
	return ignored;
}

/*
 * Reads the collections of the run into the stage.  False where a delta found
 * that the SIS ignores what it asked for, and all has to be read again.
 */
static bool
read_collections(RosterClient *client, RosterRun *run, Stage *stage)
{
	List	   *collections = load_collections(client->connection, run);
	ClientFault *first_fault = NULL;
	ListCell   *cell;
	int			readable = 0;

	foreach(cell, collections)
	{
		RosterCollection *collection = lfirst(cell);
		ClientFault *fault = read_collection(client, run, stage, collection);

		if (fault == NULL)
			readable++;
		else if (first_fault == NULL)
			first_fault = fault;
		if (collection->filtered && filter_is_ignored(run, collection))
			return false;
	}
	if (readable == 0 && first_fault != NULL)
		client_raise(first_fault);
	return true;
}

/* Sets the stage right and marks the run as a full read, unless it is a delta. */
static void
settle(RosterConnection *connection, RosterRun *run)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[2];
	bool		isnull;

	begin_worker_transaction();
	values[0] = Int64GetDatum(run->run);
	values[1] = CStringGetTextDatum(connection->name);
	SPI_execute_with_args("SELECT minga_roster.settle_stage($1, $2)", 2, types, values, NULL, false, 0);
	run->rows_staged = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_execute_with_args("SELECT minga_roster.settle_read($1)", 1, types, values, NULL, false, 0);
	store_progress(run, true);
	commit_worker_transaction();
}

/*
 * Fetches the roster of the connection into its stage, with a row of
 * collections for each that was read.  Raises what stops the run; pages staged
 * before stay in the stage.  Not inside a transaction.
 */
void
fetch_roster(RosterConnection *connection, RosterRun *run)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "minga_roster fetch", ALLOCSET_DEFAULT_SIZES);
	RosterClient *client;
	Stage	   *stage;
	SchoolList	schools;
	ClientFault *fault;

	set_phase(run, "fetch");
	MemoryContextSwitchTo(context);
	client = client_open(connection, run);
	stage = stage_open(connection, run->kind == RUN_PREVIEW || run->kind == RUN_SYNC);

	fault = read_schools(client, run, stage, &schools);
	if (fault == NULL)
		fault = school_fault(&schools);
	if (fault != NULL)
		client_raise(fault);

	begin_read(run);
	if (!read_collections(client, run, stage))
		(void) read_collections(client, run, stage);
	settle(connection, run);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
