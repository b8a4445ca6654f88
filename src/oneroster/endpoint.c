/*
 * endpoint.c
 *	  The lists of a school: which are to be read, under which paths, and how a
 *	  page of one is asked for.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/connection.h"
#include "base/run_row.h"
#include "base/transaction.h"
#include "net/url.h"
#include "oneroster/endpoint.h"
#include "oneroster/facts.h"
#include "oneroster/object_row.h"
#include "oneroster/page.h"
#include "oneroster/row_paths.h"
#include "oneroster/row_values.h"

#define PATH_TEXTS 6			/* of which a path is made */

/* The texts of an array, ending with NULL, palloc'd; *count may be left out. */
char	  **
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

/* Whether a field is among those that are asked for. */
static bool
is_asked_for(const char *fields, const char *field)
{
	int			len = strlen(field);

	for (const char *found = strstr(fields, field); found != NULL; found = strstr(found + 1, field))
	{
		if ((found == fields || found[-1] == ',') && (found[len] == ',' || found[len] == '\0'))
			return true;
	}
	return false;
}

/* The fields that a server may send without having been asked, which are passed over. */
static uint64
unwanted_fields(const char *fields)
{
	static const struct
	{
		const char *name;
		uint64		fields;
	}			optional[] = {
		{"middleName", ROW_FIELD_BIT(ROW_MIDDLE_NAME)},
		{"phone", ROW_FIELD_BIT(ROW_PHONE) | ROW_FIELD_BIT(ROW_SMS)},
		{"grades", ROW_FIELD_BIT(FIELD_GRADES)},
		{"agents", ROW_FIELD_BIT(FIELD_AGENTS) | ROW_FIELD_BIT(FIELD_AGENT_IDS)},
		{"metadata", ROW_FIELD_BIT(FIELD_METADATA)},
	};
	uint64		unwanted = 0;

	for (int i = 0; i < lengthof(optional); i++)
	{
		if (!is_asked_for(fields, optional[i].name))
			unwanted |= optional[i].fields;
	}
	return unwanted;
}

/*
 * What a list of users is asked for beside its fields, and what of its rows is passed over: a field that was not asked
 * for, and one in whose place a path stands.  texts: of each path its column, "list" or "", field, key, value, member.
 */
static void
set_paths(RosterCollection *collection, char **texts, int ntexts)
{
	collection->unwanted = unwanted_fields(collection->fields);
	collection->npaths = Min(ntexts / PATH_TEXTS, PATHS_MAX);
	collection->paths = palloc0(PATHS_MAX * sizeof(RowPath));
	for (int i = 0; i < collection->npaths; i++, texts += PATH_TEXTS)
	{
		RowPath    *path = &collection->paths[i];

		path->slot = row_path_slot(texts[0]);
		path->of_list = (texts[1][0] != '\0');
		path->field = texts[2];
		path->key = texts[3];
		path->value = texts[4];
		path->member = texts[5];
		collection->unwanted |= row_path_replaces(path);
		if (!is_asked_for(collection->fields, path->field))
			collection->fields = psprintf("%s,%s", collection->fields, path->field);
	}
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
	execute_statement("SELECT collection, family, path, fields, instead_of, fallbacks, roles, filtered, is_rostered, "
					  "round, paths, or_beside FROM minga_roster_internal.collections_to_read($1, "
					  "(SELECT modified_since FROM minga_roster.runs WHERE run = $2 AND NOT is_full))",
					  2, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		MemoryContext caller = MemoryContextSwitchTo(owner);
		RosterCollection *collection = palloc0(sizeof(RosterCollection));
		char	  **texts[] = {&collection->name, &collection->family, &collection->path, &collection->fields,
		&collection->instead_of};
		bool		isnull;

		for (int column = 1; column <= lengthof(texts); column++)
		{
			char	   *value = SPI_getvalue(tuple, tupdesc, column);

			*texts[column - 1] = value == NULL ? NULL : MemoryContextStrdup(owner, value);
		}
		collection->fallbacks = text_array(SPI_getbinval(tuple, tupdesc, 6, &isnull), NULL);
		collection->roles = text_array(SPI_getbinval(tuple, tupdesc, 7, &isnull), &collection->nroles);
		collection->filtered = DatumGetBool(SPI_getbinval(tuple, tupdesc, 8, &isnull));
		collection->is_rostered = DatumGetBool(SPI_getbinval(tuple, tupdesc, 9, &isnull));
		collection->round = DatumGetInt32(SPI_getbinval(tuple, tupdesc, 10, &isnull));
		collection->or_beside = DatumGetBool(SPI_getbinval(tuple, tupdesc, 12, &isnull));
		collection->kind = kind_of_family(collection->family);
		if (collection->kind > PAGE_ORGS)
			collection->fields = pstrdup(object_kind(collection->kind)->fields);
		else
		{
			int			ntexts;
			char	  **paths = text_array(SPI_getbinval(tuple, tupdesc, 11, &isnull), &ntexts);

			set_paths(collection, paths, ntexts);
		}
		collections = lappend(collections, collection);
		MemoryContextSwitchTo(caller);
	}
	commit_worker_transaction();
	return collections;
}

/*
 * The preset's lists of guardians, wanted by the connection or not, palloc'd in
 * the current memory context.  Not inside a transaction.
 */
List *
load_contact_collections(RosterConnection *connection)
{
	MemoryContext owner = CurrentMemoryContext;
	List	   *collections = NIL;
	Oid			types[] = {TEXTOID};
	Datum		values[1];

	begin_worker_transaction();
	values[0] = CStringGetTextDatum(connection->collections);
	execute_statement("SELECT e->>'collection', e->>'path', minga_roster_internal.fallbacks_of(e)"
					  " FROM pg_catalog.jsonb_array_elements($1::jsonb) AS e WHERE e->>'family' = 'contact'",
					  1, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext transaction = MemoryContextSwitchTo(owner);
		RosterCollection *collection = palloc0(sizeof(RosterCollection));
		char	  **texts[] = {&collection->name, &collection->path};
		bool		isnull;

		for (int column = 0; column < lengthof(texts); column++)
		{
			char	   *value = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column + 1);

			*texts[column] = value == NULL ? NULL : MemoryContextStrdup(owner, value);
		}
		collection->fallbacks = text_array(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3, &isnull),
										   NULL);
		collections = lappend(collections, collection);
		MemoryContextSwitchTo(transaction);
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

/*
 * URL of a path below the root, which may end in a query such as
 * ?filter=role='administrator'.  With a limit it is a page of a collection in
 * stable order, asked for as flags (ASK_...) and what is known of the server
 * say; with limit 0 a single object.  fields: those of each row, or NULL for
 * whatever it has.  palloc'd.
 */
char *
endpoint_url(const ServerFacts *facts, const char *path, const char *fields, int limit, int64 offset, int flags)
{
	const char *query = strchr(path, '?');
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfoString(&url, facts->connection->base_url);
	appendBinaryStringInfo(&url, path, query == NULL ? strlen(path) : query - path);
	appendStringInfoChar(&url, '?');
	if (query != NULL)
	{
		/* Of what presets write into a filter, quotes and spaces need encoding. */
		for (const char *c = query + 1; *c != '\0'; c++)
		{
			if (*c == '\'')
				appendStringInfoString(&url, "%27");
			else if (*c == ' ')
				appendStringInfoString(&url, "%20");
			else if (*c == '>')
				appendStringInfoString(&url, "%3E");
			else
				appendStringInfoChar(&url, *c);
		}
		appendStringInfoChar(&url, '&');
	}
	if (limit > 0)
		appendStringInfo(&url, "limit=%d&offset=" INT64_FORMAT "&", limit, offset);
	if (limit > 0 && !facts->no_sort && (flags & ASK_WITHOUT_SORT) == 0)
		appendStringInfo(&url, "sort=sourcedId&orderBy=%s&", (flags & ASK_FROM_END) ? "desc" : "asc");
	if (limit > 0 && fields != NULL && !facts->no_fields && (flags & ASK_WITHOUT_FIELDS) == 0)
		appendStringInfo(&url, "fields=%s&", fields);
	url.data[url.len - 1] = '\0';	/* the "?" or "&" left over */
	return url.data;
}

/*
 * What is the same for every page of a collection; a role that ended before
 * yesterday is over wherever the school is.
 */
void
reader_of_rows(PageReader *reader, RosterConnection *connection, const RosterCollection *collection)
{
	int			year;
	int			month;
	int			day;

	memset(reader, 0, sizeof(PageReader));
	reader->kind = collection->kind;
	reader->subject = collection->name;
	reader->school_id = connection->school_id;
	reader->fields = collection->fields;
	reader->unwanted = collection->unwanted;
	if (reader->kind == PAGE_USERS && collection->fields == NULL)
		reader->unwanted = unwanted_fields("");
	reader->paths = collection->paths;
	reader->npaths = collection->npaths;
	j2date(roster_clock_now() / USECS_PER_DAY + POSTGRES_EPOCH_JDATE - 1, &year, &month, &day);
	snprintf(reader->ended_before, sizeof(reader->ended_before), "%04d-%02d-%02d", year % 10000, month % 100,
			 day % 100);
}
