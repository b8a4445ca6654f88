/*
 * fetch.c
 *	  The fetch of a run: the school, then its collections, into the stage; and
 *	  what readers of pages share.
 *
 * What it must survive: an evening that ends while the SIS is still answering, a
 * SIS that does not come to an end, and permissions of the key that change in the
 * middle, after which everything is read anew.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "oneroster/fetch.h"

#define READS_MAX 4				/* the first, and three anew */

/* The texts of an array, ending with NULL, palloc'd; *count may be left out. */
char **
text_array(Datum array, int *count)
{
	Datum	   *elements;
	char	  **texts;
	int			number;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &number);
	texts = palloc0((number + 1) * sizeof(char *));
	for (int i = 0; i < number; i++)
		texts[i] = TextDatumGetCString(elements[i]);
	if (count != NULL)
		*count = number;
	return texts;
}

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
	SPI_execute_with_args("SELECT collection, family, path, fallbacks, roles, filtered "
						  "FROM minga_roster_internal.collections_to_read($1, "
						  "(SELECT modified_since FROM minga_roster.runs WHERE run = $2 AND NOT is_full))",
						  2, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		MemoryContext caller = MemoryContextSwitchTo(owner);
		RosterCollection *collection = palloc0(sizeof(RosterCollection));
		char	  **texts[] = {&collection->name, &collection->family, &collection->path};
		bool		isnull;

		for (int column = 1; column <= lengthof(texts); column++)
		{
			char	   *value = SPI_getvalue(tuple, tupdesc, column);

			*texts[column - 1] = value == NULL ? NULL : MemoryContextStrdup(owner, value);
		}
		collection->fallbacks = text_array(SPI_getbinval(tuple, tupdesc, 4, &isnull), NULL);
		collection->roles = text_array(SPI_getbinval(tuple, tupdesc, 5, &isnull), &collection->nroles);
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
	reader->campus_metadata = connection->campus_metadata;
	j2date(roster_clock_now() / USECS_PER_DAY + POSTGRES_EPOCH_JDATE - 1, &year, &month, &day);
	snprintf(reader->ended_before, sizeof(reader->ended_before), "%04d-%02d-%02d", year % 10000, month % 100, day % 100);
}

/* Whether a row of an endpoint that is not the school's own has none of the roles that are kept of it. */
static bool
is_of_other_role(const RowJudge *judge, const PageRow *row)
{
	const RosterCollection *collection = judge->collection;
	const text *role = row->texts[ROW_ROLE];

	if (judge->school_scoped || collection->nroles == 0 || role == NULL || row->role_unclear)
		return false;
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

	if (strcmp(collection->family, "contact") != 0 && !row->orgs_unclear)
	{
		bool		listed = (row->orgs.count == 0 && judge->school_scoped && !row->roles_over);

		for (int i = 0; i < row->orgs.count && !listed; i++)
			listed = text_equals((text *) DatumGetPointer(row->orgs.ids[i]), judge->school_id);
		if (!listed || (row->roles_over && row->texts[ROW_ROLE] == NULL))
			return true;
	}
	return is_of_other_role(judge, row);
}

/*
 * Whether the row, elsewhere by is_elsewhere, names no school at all.  In the
 * list of a school, whose place another list takes, it would have been the
 * school's.
 */
bool
is_nowhere(const RowJudge *judge, const PageRow *row)
{
	return !judge->school_scoped && is_school_scoped(judge->collection->path) &&
		row->orgs.count == 0 && !row->orgs_unclear && !row->roles_over && !is_of_other_role(judge, row);
}

/* The key may not, or the endpoint is not there, as servers say it at its first page. */
bool
is_denied(const HttpResponse *response)
{
	switch (response->status)
	{
		case 403:
		case 404:
		case 405:
		case 410:
		case 501:
			return true;
	}
	return false;
}

/*
 * Begins to ask for a page; client_wait carries it on.  flags: ASK_...  slow_is_final: with a
 * time-out or 504 it ends, for the caller to ask for fewer rows.
 */
ClientGet *
begin_page(RosterClient *client, const char *path, int limit, int64 offset, int flags, Size max_bytes,
		   bool slow_is_final)
{
	char	   *url = client_url(client, path, limit, offset, flags);
	ClientGet  *get = client_begin_get(client, url, max_bytes, slow_is_final);

	pfree(url);
	return get;
}

/*
 * Adds the words of the SIS to why it refused a page.  They may hold what it
 * was sent, so they are left out where the token is in them; and a redirect or
 * a refused token has none to go by.
 */
static void
add_words(RosterClient *client, ClientGet *get)
{
	ClientFault *fault = get->fault;
	char	   *words;

	if (get->response.status < 400 || get->response.status == 401)
		return;
	words = page_description(get->response.body, get->response.len);
	if (words == NULL || (client->token != NULL && strstr(words, client->token) != NULL))
		return;
	fault->detail = psprintf("%.*s; the SIS says: %s", (int) strlen(fault->detail) - 1, fault->detail, words);
}

/*
 * What a page that has ended came to.  NULL: its 200 is in get->response; else
 * the fault, with the status as answered, 0 where nothing was.  Lives as long
 * as the GET.
 */
ClientFault *
page_fault(RosterClient *client, ClientGet *get)
{
	if (get->fault == NULL && get->response.status != 200)
	{
		MemoryContext caller = MemoryContextSwitchTo(get->context);

		get->fault = client_status_fault(client, get->url, &get->response);
		add_words(client, get);
		MemoryContextSwitchTo(caller);
	}
	if (get->fault != NULL)
		http_release(&get->response);	/* nobody looks into it */
	return get->fault;
}

/*
 * Asks for a page and waits for it.  NULL: its 200 is in *response; else the
 * fault, with (*response)->status as answered, 0 where nothing was.  Fault and
 * response, body included, live as long as the current memory context.  Not
 * inside a transaction.
 */
ClientFault *
get_page(RosterClient *client, const char *path, int limit, int64 offset, int flags, HttpResponse **response)
{
	ClientGet  *get = begin_page(client, path, limit, offset, flags, PAGE_MAX_BYTES, false);

	while (!client_get_has_ended(get))
		client_wait(client, true);
	*response = &get->response;
	return page_fault(client, get);
}

/* Says in the run's row whether it asks only for what changed.  In a transaction of its own, as the next one. */
static void
begin_read(RosterRun *run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};

	begin_worker_transaction();
	SPI_execute_with_args("SELECT minga_roster_internal.begin_read($1)", 1, types, values, NULL, false, 0);
	commit_worker_transaction();
}

/* Whether rows came that were not asked for; the stage is empty and the run a full one then. */
bool
filter_is_ignored(RosterRun *run, const RosterCollection *collection)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(run->run), CStringGetTextDatum(collection->name)};
	bool		isnull;
	bool		ignored;

	begin_worker_transaction();
	SPI_execute_with_args("SELECT minga_roster_internal.filter_is_ignored($1, $2)", 2, types, values, NULL, false, 1);
	ignored = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	commit_worker_transaction();
	if (ignored)
	{
		run->rows_staged = 0;
		run->rows_expected = -1;
	}
	return ignored;
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
	SPI_execute_with_args("SELECT minga_roster_internal.settle_stage($1, $2)", 2, types, values, NULL, false, 0);
	run->rows_staged = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_execute_with_args("SELECT minga_roster_internal.settle_read($1)", 1, types, values, NULL, false, 0);
	SPI_execute_with_args("SELECT minga_roster_internal.forget_stale_facts($2)", 2, types, values, NULL, false, 0);
	store_progress(run, true);
	commit_worker_transaction();
}

/*
 * What the hour allows: how many requests at a time, and until when.  An evening's
 * run ends with its evening.
 */
static int
limit_fetch(RosterClient *client, RosterRun *run)
{
	MemoryContext owner = CurrentMemoryContext;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};
	int64		seconds_left = 0;
	TimestampTz evening_ends;
	int			requests;
	char	   *evening;
	bool		isnull;

	begin_worker_transaction();
	SPI_execute_with_args("SELECT requests, seconds_left, evening FROM minga_roster_internal.fetch_limits($1)", 1, types, values, NULL, true, 1);
	requests = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	evening = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3);
	if (evening != NULL)
	{
		evening = MemoryContextStrdup(owner, evening);
		seconds_left = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	}
	commit_worker_transaction();

	if (evening == NULL)
		return requests;
	evening_ends = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), seconds_left * 1000);
	if (evening_ends < client->run_until)
	{
		client->run_until = evening_ends;
		client->run_until_fault = client_fault(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
											   "the evening ended before the roster was read",
											   psprintf("The evening is %s, and the SIS is not asked outside of it.", evening),
											   "Nobody was changed, and the next evening starts over. If it happens again, make the evening "
											   "longer with roster_configure(sync_at => ..., window_end => ...), or ask the SIS vendor why its "
											   "lists take so long.");
	}
	return requests;
}

/* The stage and what is on record of the run are as they were before it read anything. */
static void
begin_anew(RosterClient *client, RosterRun *run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};

	client_forget_revision(client);
	run->pages = 0;
	run->rows_staged = 0;
	run->rows_expected = -1;
	begin_worker_transaction();
	SPI_execute_with_args("DELETE FROM minga_roster.collections WHERE run = $1", 1, types, values, NULL, false, 0);
	store_progress(run, true);
	commit_worker_transaction();
}

/* Reads school and collections; false where what the key may see changed meanwhile. */
static bool
read_roster(RosterClient *client, RosterRun *run, int requests, bool *begun)
{
	RosterConnection *connection = client->connection;
	Stage	   *stage = stage_open(connection, run->kind == RUN_PREVIEW || run->kind == RUN_SYNC);
	SchoolList	schools;
	ClientFault *fault;
	bool		filter_ignored;

	fault = read_schools(client, run, stage, &schools);
	if (fault == NULL)
		fault = school_fault(&schools);
	if (fault == NULL && !*begun)
	{
		begin_read(run);
		*begun = true;
	}
	do
	{
		filter_ignored = false;
		if (fault == NULL && !client->revision_changed)
			fault = read_collections(client, run, stage, load_collections(connection, run), requests, &filter_ignored);
	} while (filter_ignored);
	if (client->revision_changed)
		return false;
	if (fault != NULL)
		client_raise(fault);
	settle(connection, run);
	return true;
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
	int			requests;
	int			reads = 1;
	bool		begun = false;

	set_phase(run, "fetch");
	MemoryContextSwitchTo(context);
	client = client_open(connection, run);
	load_facts(client);
	requests = limit_fetch(client, run);
	for (;;)
	{
		MemoryContext reading = AllocSetContextCreate(context, "minga_roster reading", ALLOCSET_DEFAULT_SIZES);
		bool		complete;

		MemoryContextSwitchTo(reading);
		complete = read_roster(client, run, requests, &begun);
		MemoryContextSwitchTo(context);
		MemoryContextDelete(reading);
		if (complete)
			break;
		if (reads++ == READS_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("what the SIS shares with connection \"%s\" changed again and again while it was read", connection->name),
					 errdetail("The revision in the header x-perm-rev changed in each of %d readings.", READS_MAX),
					 errhint("Somebody may be changing what is shared: start the run again later. If it happens again, ask the SIS vendor.")));
		begin_anew(client, run);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
