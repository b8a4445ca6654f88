/*
 * needs.c
 *	  What of a row is staged: all that was asked for where its category is
 *	  rostered; keys alone where it is not, since the plan still has to know who is
 *	  listed; of contacts how to reach them; of anyone else the ID.
 *
 * A name is no key, but the evidence for one (docs/architecture.md).  So of a
 * category that is off names are staged hidden (name.c), which only the rest of
 * the run can compare.  A row whose role is not known is taken for one of
 * its list.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/name.h"
#include "base/run_row.h"
#include "base/transaction.h"
#include "oneroster/endpoint.h"
#include "oneroster/needs.h"
#include "oneroster/row_values.h"

typedef enum RowKind
{
	ROW_WHOLE,
	ROW_KEYS,
	ROW_CONTACT,
	ROW_ID,
	ROW_KINDS
} RowKind;

/* Which roles a row has to have to be of that kind; those that are not among them are ROW_ID. */
struct RosterNeeds
{
	char	  **roles[ROW_ID];
	bool		with_sms;		/* of contacts */
	MemoryContext names;		/* the hidden ones of the row */
};

/* Whom a row of each kind may be is told by these. */
static const RowText keys[] = {ROW_SOURCED_ID, ROW_STATUS, ROW_ROLE, ROW_DATE_LAST_MODIFIED, ROW_GIVEN_NAME,
ROW_FAMILY_NAME, ROW_PREFERRED_NAME, ROW_USERNAME, ROW_IDENTIFIER, ROW_EMAIL};
static const RowText names[] = {ROW_GIVEN_NAME, ROW_FAMILY_NAME, ROW_PREFERRED_NAME};
static const RowText of_contact[] = {ROW_SOURCED_ID, ROW_STATUS, ROW_ROLE, ROW_DATE_LAST_MODIFIED, ROW_GIVEN_NAME,
ROW_FAMILY_NAME, ROW_EMAIL, ROW_PHONE, ROW_SMS};
static const RowText id_alone[] = {ROW_SOURCED_ID, ROW_STATUS, ROW_ROLE, ROW_DATE_LAST_MODIFIED};

/*
 * What the run needs of rows, palloc'd in the current memory context.  Where a
 * category is off, names are hidden from now on, and the plan of this run compares
 * them so.  Not inside a transaction.
 */
RosterNeeds *
load_needs(const RosterRun *run)
{
	MemoryContext owner = CurrentMemoryContext;
	RosterNeeds *needs = palloc0(sizeof(RosterNeeds));
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run->run)};
	bool		isnull;

	begin_worker_transaction();
	execute_statement("SELECT whole, keys, contacts, with_sms FROM minga_roster_internal.begin_staging($1)", 1, types,
					  values, NULL);
	for (int kind = 0; kind < ROW_ID; kind++)
	{
		Datum		roles = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, kind + 1, &isnull);
		MemoryContext transaction = MemoryContextSwitchTo(owner);

		needs->roles[kind] = text_array(roles, NULL);
		MemoryContextSwitchTo(transaction);
	}
	needs->with_sms = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, ROW_ID + 1, &isnull));
	commit_worker_transaction();
	needs->names = AllocSetContextCreate(owner, "minga_roster hidden names", ALLOCSET_SMALL_SIZES);
	names_hide(needs->roles[ROW_KEYS][0] != NULL);
	return needs;
}

static bool
is_among(char **roles, const text *role)
{
	int			len = VARSIZE(role) - VARHDRSZ;

	for (; *roles != NULL; roles++)
	{
		if (strlen(*roles) == len && memcmp(*roles, VARDATA(role), len) == 0)
			return true;
	}
	return false;
}

static bool
has_role(char **roles, const PageRow *row)
{
	if (row->texts[ROW_ROLE] != NULL && is_among(roles, row->texts[ROW_ROLE]))
		return true;
	for (int i = 0; i < row->roles.count; i++)
	{
		if (is_among(roles, (text *) DatumGetPointer(row->roles.ids[i])))
			return true;
	}
	return false;
}

static RowKind
kind_of_row(const RosterNeeds *needs, const RosterCollection *collection, const PageRow *row)
{
	for (RowKind kind = ROW_WHOLE; kind < ROW_ID; kind++)
	{
		if (has_role(needs->roles[kind], row))
			return kind;
	}
	if (row->texts[ROW_ROLE] == NULL || row->role_unclear)
		return !collection->is_rostered ? ROW_KEYS : strcmp(collection->family, "contact") == 0 ? ROW_CONTACT
			: ROW_WHOLE;
	return ROW_ID;
}

static void
keep_texts(PageRow *row, const RowText *kept, int count)
{
	text	   *texts[ROW_TEXTS] = {0};

	for (int i = 0; i < count; i++)
		texts[kept[i]] = row->texts[kept[i]];
	memcpy(row->texts, texts, sizeof(texts));
}

static void
hide_name(const RosterNeeds *needs, text **name)
{
	MemoryContext caller;

	if (*name == NULL)
		return;
	caller = MemoryContextSwitchTo(needs->names);
	*name = name_compared(VARDATA(*name), VARSIZE(*name) - VARHDRSZ);
	MemoryContextSwitchTo(caller);
}

/* Takes out of a row what is not staged of it.  Hidden names live until the next row. */
void
reduce_row(const RosterNeeds *needs, const RosterCollection *collection, PageRow *row)
{
	switch (kind_of_row(needs, collection, row))
	{
		case ROW_WHOLE:
			row->texts[ROW_SMS] = NULL;	/* it is the phone where there is no other */
			return;
		case ROW_KEYS:
			keep_texts(row, keys, lengthof(keys));
			MemoryContextReset(needs->names);
			for (int i = 0; i < lengthof(names); i++)
				hide_name(needs, &row->texts[names[i]]);
			row->relationships = NULL;
			break;
		case ROW_CONTACT:
			keep_texts(row, of_contact, lengthof(of_contact));
			if (!needs->with_sms)
				row->texts[ROW_SMS] = NULL;
			break;
		default:
			keep_texts(row, id_alone, lengthof(id_alone));
			row->relationships = NULL;
	}
	row->agents.count = 0;
	row->user_ids.count = 0;
	row->legacy_id = NULL;
}
