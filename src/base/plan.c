/*
 * plan.c
 *	  What the plan does for each row of a roster, where SQL's own means cost too
 *	  much: the aggregate repeated(text), the values that come more than once;
 *	  key_set(text, text), the keys of many rows, for in_key_set(...); tally(...),
 *	  how many rows of each kind have a value in each column; names_of(jsonb), the
 *	  names in many objects; agrees(VARIADIC "any"), whether nothing that a roster
 *	  gives differs; and changed_values(...), what differs, as the before and after
 *	  of a change.
 *
 * agrees compares byte for byte; repeated and key_set keep 64 bits of a hash of
 * each value and take those of one hash for one value.  Must survive as many
 * values as there are people.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "base/compat.h"
#include "base/error.h"

static inline bool
same_bytes(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/*
 * A set of keys as it is given to in_key_set, in a bytea: hashes with open
 * addressing, 0 where there is none.  At most half of the slots are taken.
 */
typedef struct KeySet
{
	int32		vl_len_;
	uint32		mask;			/* number of slots, a power of 2, less 1 */
	uint64		slots[FLEXIBLE_ARRAY_MEMBER];
} KeySet;

#define KEY_SET_SIZE(mask) (offsetof(KeySet, slots) + ((Size) (mask) + 1) * sizeof(uint64))
#define LEAST_KEY_SET_MASK 31	/* large enough that it never gets a short header */

typedef struct GrowingKeySet
{
	KeySet	   *set;
	uint32		taken;
} GrowingKeySet;

typedef struct Repeated
{
	GrowingKeySet seen;
	ArrayBuildState *values;	/* each that had been seen before, as often as it was */
} Repeated;

typedef struct TallyRow
{
	const text *kind;
	char		status;
	int64	   *counts;			/* of all rows, then of those with a value in each column */
} TallyRow;

static uint32
hash_text(const text *value)
{
	return hash_bytes((const unsigned char *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

#define SH_PREFIX tally
#define SH_ELEMENT_TYPE TallyRow
#define SH_KEY_TYPE const text *
#define SH_KEY kind
#define SH_HASH_KEY(table, key) hash_text(key)
#define SH_EQUAL(table, a, b) same_bytes(a, b)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Tally
{
	tally_hash *rows;
	TallyRow	none;			/* of rows without a kind */
	int			columns;
} Tally;

typedef struct Names
{
	ArrayBuildState *found;
	int			next;			/* where the name after the last one is, mostly */
} Names;

ROSTER_FUNCTION(roster_repeated_add);
ROSTER_FUNCTION(roster_repeated_values);
ROSTER_FUNCTION(roster_key_set_add);
ROSTER_FUNCTION(roster_key_set_keys);
ROSTER_FUNCTION(roster_in_key_set);
ROSTER_FUNCTION(roster_tally_add);
ROSTER_FUNCTION(roster_tally_rows);
ROSTER_FUNCTION(roster_names_add);
ROSTER_FUNCTION(roster_names);
ROSTER_FUNCTION(roster_agrees);
ROSTER_FUNCTION(roster_changed_values);
ROSTER_FUNCTION(roster_new_values);

/* Where the state of an aggregate lives; an error outside of one. */
static MemoryContext
aggregate_context(FunctionCallInfo fcinfo, const char *aggregate_name)
{
	MemoryContext aggregate;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s was called outside an aggregate", get_func_name(fcinfo->flinfo->fn_oid)),
				 errhint("Call the aggregate: SELECT minga_roster_internal.%s(...) FROM ...", aggregate_name)));
	return aggregate;
}

/* The slot of the hash, or the empty one where it would be. */
static inline uint32
key_slot(const KeySet *set, uint64 hash)
{
	uint32		slot = (uint32) hash & set->mask;

	while (set->slots[slot] != 0 && set->slots[slot] != hash)
		slot = (slot + 1) & set->mask;
	return slot;
}

static KeySet *
new_key_set(MemoryContext context, uint32 mask)
{
	KeySet	   *set = MemoryContextAllocExtended(context, KEY_SET_SIZE(mask), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	SET_VARSIZE(set, KEY_SET_SIZE(mask));
	set->mask = mask;
	return set;
}

/* Whether the hash, which is not 0, is in the set already; adds it. */
static bool
add_key(GrowingKeySet *keys, MemoryContext context, uint64 hash)
{
	uint32		slot = key_slot(keys->set, hash);

	if (keys->set->slots[slot] == hash)
		return true;
	keys->set->slots[slot] = hash;
	if (++keys->taken > keys->set->mask / 2)
	{
		KeySet	   *small = keys->set;

		keys->set = new_key_set(context, small->mask * 2 + 1);
		for (uint32 i = 0; i <= small->mask; i++)
			if (small->slots[i] != 0)
				keys->set->slots[key_slot(keys->set, small->slots[i])] = small->slots[i];
		pfree(small);
	}
	return false;
}

Datum
roster_repeated_add(PG_FUNCTION_ARGS)
{
	MemoryContext aggregate = aggregate_context(fcinfo, "repeated");
	Repeated   *repeated;
	text	   *value;
	uint64		hash;

	if (PG_ARGISNULL(0))
	{
		repeated = MemoryContextAllocZero(aggregate, sizeof(Repeated));
		repeated->seen.set = new_key_set(aggregate, LEAST_KEY_SET_MASK);
	}
	else
		repeated = (Repeated *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(1))
		PG_RETURN_POINTER(repeated);

	value = PG_GETARG_TEXT_PP(1);
	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), 0);
	if (add_key(&repeated->seen, aggregate, hash == 0 ? 1 : hash))
		repeated->values = accumArrayResult(repeated->values, PointerGetDatum(value), false, TEXTOID, aggregate);
	PG_RETURN_POINTER(repeated);
}

/* Leaves the state as it is: as a window function an aggregate goes on from there for the next row. */
Datum
roster_repeated_values(PG_FUNCTION_ARGS)
{
	Repeated   *repeated = PG_ARGISNULL(0) ? NULL : (Repeated *) PG_GETARG_POINTER(0);
	int			dims[1];
	int			lower_bounds[1] = {1};

	if (repeated == NULL || repeated->values == NULL)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(TEXTOID));
	dims[0] = repeated->values->nelems;
	PG_RETURN_DATUM(makeMdArrayResult(repeated->values, 1, dims, lower_bounds, CurrentMemoryContext, false));
}

/* The hash of a key of this kind, its ASCII letters in lower case; never 0. */
static uint64
key_hash(const text *key, int kind)
{
	const char *bytes = VARDATA_ANY(key);
	int			length = VARSIZE_ANY_EXHDR(key);
	unsigned char buffer[256];
	unsigned char *lower = length <= (int) sizeof(buffer) ? buffer : palloc(length);
	uint64		hash;

	buffer[0] = 0;				/* of a key without a byte */
	for (int i = 0; i < length; i++)
		lower[i] = (bytes[i] >= 'A' && bytes[i] <= 'Z') ? bytes[i] - 'A' + 'a' : bytes[i];
	hash = hash_bytes_extended(lower, length, kind + 1);
	if (lower != buffer)
		pfree(lower);
	return hash == 0 ? 1 : hash;
}

/* key_set(text, text): adds the two keys, each of a kind of its own. */
Datum
roster_key_set_add(PG_FUNCTION_ARGS)
{
	MemoryContext aggregate = aggregate_context(fcinfo, "key_set");
	GrowingKeySet *keys;

	if (PG_ARGISNULL(0))
	{
		keys = MemoryContextAllocZero(aggregate, sizeof(GrowingKeySet));
		keys->set = new_key_set(aggregate, LEAST_KEY_SET_MASK);
	}
	else
		keys = (GrowingKeySet *) PG_GETARG_POINTER(0);
	for (int kind = 0; kind < 2; kind++)
		if (!PG_ARGISNULL(kind + 1))
			(void) add_key(keys, aggregate, key_hash(PG_GETARG_TEXT_PP(kind + 1), kind));
	PG_RETURN_POINTER(keys);
}

/* NULL if no row has a key. */
Datum
roster_key_set_keys(PG_FUNCTION_ARGS)
{
	GrowingKeySet *keys = PG_ARGISNULL(0) ? NULL : (GrowingKeySet *) PG_GETARG_POINTER(0);
	KeySet	   *copy;

	if (keys == NULL || keys->taken == 0)
		PG_RETURN_NULL();
	copy = new_key_set(CurrentMemoryContext, keys->set->mask);
	memcpy(copy, keys->set, VARSIZE(keys->set));
	PG_RETURN_POINTER(copy);
}

/* in_key_set(set, one, other): whether one of the two keys is in the set; false where set is NULL. */
Datum
roster_in_key_set(PG_FUNCTION_ARGS)
{
	KeySet	   *set;

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	set = (KeySet *) PG_DETOAST_DATUM(PG_GETARG_DATUM(0));
	if (VARSIZE(set) < KEY_SET_SIZE(LEAST_KEY_SET_MASK) || (set->mask & (set->mask + 1)) != 0 ||
		VARSIZE(set) != KEY_SET_SIZE(set->mask))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument %d of %s is no set of keys", 1, "in_key_set"),
				 errhint("Make it with minga_roster_internal.key_set(...).")));
	for (int kind = 0; kind < 2; kind++)
	{
		uint64		hash;

		if (PG_ARGISNULL(kind + 1))
			continue;
		hash = key_hash(PG_GETARG_TEXT_PP(kind + 1), kind);
		if (set->slots[key_slot(set, hash)] == hash)
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}

/* tally(kind, ...): counts a row of this kind, and each further argument that is not NULL. */
Datum
roster_tally_add(PG_FUNCTION_ARGS)
{
	MemoryContext aggregate = aggregate_context(fcinfo, "tally");
	Tally	   *tally;
	TallyRow   *row;

	if (PG_ARGISNULL(0))
	{
		if (get_fn_expr_argtype(fcinfo->flinfo, 1) != TEXTOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("argument %d of %s is not of type text", 1, "tally"),
					 errdetail("Found: %s.", format_type_be(get_fn_expr_argtype(fcinfo->flinfo, 1))),
					 errhint("Cast it to text.")));
		tally = MemoryContextAllocZero(aggregate, sizeof(Tally));
		tally->rows = tally_create(aggregate, 32, NULL);
		tally->columns = PG_NARGS() - 2;
	}
	else
		tally = (Tally *) PG_GETARG_POINTER(0);
	row = &tally->none;
	if (!PG_ARGISNULL(1))
	{
		text	   *kind = PG_GETARG_TEXT_PP(1);

		row = tally_lookup(tally->rows, kind);
		if (row == NULL)
		{
			MemoryContext caller = MemoryContextSwitchTo(aggregate);
			bool		found;

			row = tally_insert(tally->rows,
							   DatumGetTextPP(datumCopy(PointerGetDatum(kind), false, -1)), &found);
			row->counts = NULL;
			MemoryContextSwitchTo(caller);
		}
	}
	if (row->counts == NULL)
		row->counts = MemoryContextAllocZero(aggregate, sizeof(int64) * (tally->columns + 1));
	row->counts[0]++;
	for (int i = 0; i < tally->columns; i++)
		row->counts[i + 1] += !PG_ARGISNULL(i + 2);
	PG_RETURN_POINTER(tally);
}

static void
push_counts(JsonbParseState * *state, const TallyRow *row, int columns)
{
	JsonbValue	item;

	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	item.type = jbvNull;
	if (row->kind != NULL)
	{
		item.type = jbvString;
		item.val.string.val = (char *) VARDATA_ANY(row->kind);
		item.val.string.len = VARSIZE_ANY_EXHDR(row->kind);
	}
	pushJsonbValue(state, WJB_ELEM, &item);
	for (int i = 0; i <= columns; i++)
	{
		item.type = jbvNumeric;
		item.val.numeric = DatumGetNumeric(DirectFunctionCall1(int8_numeric, Int64GetDatum(row->counts[i])));
		pushJsonbValue(state, WJB_ELEM, &item);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* An array with one of kind and counts for each kind; NULL over no row. */
Datum
roster_tally_rows(PG_FUNCTION_ARGS)
{
	Tally	   *tally = PG_ARGISNULL(0) ? NULL : (Tally *) PG_GETARG_POINTER(0);
	JsonbParseState *state = NULL;
	tally_iterator iterator;
	TallyRow   *row;

	if (tally == NULL)
		PG_RETURN_NULL();
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	if (tally->none.counts != NULL)
		push_counts(&state, &tally->none, tally->columns);
	tally_start_iterate(tally->rows, &iterator);
	while ((row = tally_iterate(tally->rows, &iterator)) != NULL)
		push_counts(&state, row, tally->columns);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}

/* names_of(jsonb): adds the names of the object.  Objects of one kind have them in one order, so few are compared. */
Datum
roster_names_add(PG_FUNCTION_ARGS)
{
	MemoryContext aggregate = aggregate_context(fcinfo, "names_of");
	Names	   *names;
	Jsonb	   *object = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (PG_ARGISNULL(0))
	{
		names = MemoryContextAllocZero(aggregate, sizeof(Names));
		names->found = initArrayResult(TEXTOID, aggregate, false);
	}
	else
		names = (Names *) PG_GETARG_POINTER(0);
	if (object == NULL || !JB_ROOT_IS_OBJECT(object))
		PG_RETURN_POINTER(names);
	iterator = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		int			count = names->found->nelems;
		int			at;

		if (token != WJB_KEY)
			continue;
		for (at = 0; at < count; at++)
		{
			int			nth = (names->next + at) % count;
			text	   *name = DatumGetTextPP(names->found->dvalues[nth]);

			if (VARSIZE_ANY_EXHDR(name) == item.val.string.len &&
				memcmp(VARDATA_ANY(name), item.val.string.val, item.val.string.len) == 0)
			{
				names->next = nth + 1;
				break;
			}
		}
		if (at == count)
		{
			names->found = accumArrayResult(names->found,
											PointerGetDatum(cstring_to_text_with_len(item.val.string.val,
																					 item.val.string.len)),
											false, TEXTOID, aggregate);
			names->next = 0;
		}
	}
	PG_RETURN_POINTER(names);
}

/* Each name once; an empty array over no object with one.  The state stays as it is. */
Datum
roster_names(PG_FUNCTION_ARGS)
{
	Names	   *names = PG_ARGISNULL(0) ? NULL : (Names *) PG_GETARG_POINTER(0);
	int			dims[1];
	int			lower_bounds[1] = {1};

	if (names == NULL || names->found->nelems == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(TEXTOID));
	dims[0] = names->found->nelems;
	PG_RETURN_DATUM(makeMdArrayResult(names->found, 1, dims, lower_bounds, CurrentMemoryContext, false));
}

/* Arguments from first on are pairs of texts, or the call of the function is an error. */
static void
require_pairs(FunctionCallInfo fcinfo, int first)
{
	const char *name = get_func_name(fcinfo->flinfo->fn_oid);
	int			count = PG_NARGS();

	for (int i = first; i < count; i++)
		if (get_fn_expr_argtype(fcinfo->flinfo, i) != TEXTOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("argument %d of %s is not of type text", i + 1, name),
					 errdetail("Found: %s.", format_type_be(get_fn_expr_argtype(fcinfo->flinfo, i))),
					 errhint("Cast it to text.")));
	if ((count - first) % 2 != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s takes pairs", name),
				 errdetail("It was called with %d arguments.", count),
				 errhint("Give for each value the one that it is compared with.")));
}

/*
 * agrees(a, b, c, d, ...): whether of each pair the first is NULL or the same
 * as the second.  All of them are text.
 */
Datum
roster_agrees(PG_FUNCTION_ARGS)
{
	int			count = PG_NARGS();

	if (fcinfo->flinfo->fn_extra == NULL)
	{
		require_pairs(fcinfo, 0);
		fcinfo->flinfo->fn_extra = fcinfo->flinfo;
	}
	for (int i = 0; i < count; i += 2)
	{
		if (PG_ARGISNULL(i))
			continue;
		if (PG_ARGISNULL(i + 1) || !same_bytes(PG_GETARG_TEXT_PP(i), PG_GETARG_TEXT_PP(i + 1)))
			PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}

/* Adds a name with its value, a text or NULL, to the object that is being built. */
static void
push_pair(JsonbParseState * *state, const char *name, int length, const text *value)
{
	JsonbValue	item;

	item.type = jbvString;
	item.val.string.val = unconstify(char *, name);
	item.val.string.len = length;
	pushJsonbValue(state, WJB_KEY, &item);
	if (value == NULL)
		item.type = jbvNull;
	else
	{
		item.val.string.val = (char *) VARDATA_ANY(value);
		item.val.string.len = VARSIZE_ANY_EXHDR(value);
	}
	pushJsonbValue(state, WJB_VALUE, &item);
}

/* Where the pairs of changed_values begin. */
#define CHANGED_VALUES_PAIRS 4

static bool
has_name(ArrayType *names, const text *name)
{
	Datum	   *elements;
	int			count;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		if (same_bytes(DatumGetTextPP(elements[i]), name))
			return true;
	return false;
}

/*
 * changed_values(columns, cleared, role, due_role, now, due, now, due, ...):
 * objects of the columns whose due value is another than the one now: before with
 * what is there now, after with what is due.  columns has the name of each pair,
 * NULL for one that is left out.  A NULL that is due counts in cleared columns
 * only.  A role that is due is in both, whatever the one now is.
 */
Datum
roster_changed_values(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor = fcinfo->flinfo->fn_extra;
	Datum	   *names;
	bool	   *left_out;
	int			count;
	JsonbParseState *before = NULL;
	JsonbParseState *after = NULL;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (descriptor == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		require_pairs(fcinfo, CHANGED_VALUES_PAIRS);
		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("function returning record called in context that cannot accept type record")));
		fcinfo->flinfo->fn_extra = descriptor = BlessTupleDesc(descriptor);
		MemoryContextSwitchTo(caller);
	}
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument %d of %s is NULL", 1, "changed_values")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &names, &left_out, &count);
	if (count != (PG_NARGS() - CHANGED_VALUES_PAIRS) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changed_values has %d names for %d pairs", count,
						(PG_NARGS() - CHANGED_VALUES_PAIRS) / 2)));
	pushJsonbValue(&before, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&after, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < count; i++)
	{
		int			pair = CHANGED_VALUES_PAIRS + 2 * i;
		text	   *now = PG_ARGISNULL(pair) ? NULL : PG_GETARG_TEXT_PP(pair);
		text	   *due = PG_ARGISNULL(pair + 1) ? NULL : PG_GETARG_TEXT_PP(pair + 1);
		text	   *name;

		if (left_out[i] || (now == NULL && due == NULL) || (now != NULL && due != NULL && same_bytes(now, due)))
			continue;
		name = DatumGetTextPP(names[i]);
		if (due == NULL && (PG_ARGISNULL(1) || !has_name(PG_GETARG_ARRAYTYPE_P(1), name)))
			continue;
		push_pair(&before, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), now);
		push_pair(&after, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), due);
	}
	if (!PG_ARGISNULL(3))
	{
		push_pair(&before, "role", strlen("role"), PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2));
		push_pair(&after, "role", strlen("role"), PG_GETARG_TEXT_PP(3));
	}
	values[0] = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&before, WJB_END_OBJECT, NULL)));
	values[1] = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&after, WJB_END_OBJECT, NULL)));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}

/*
 * new_values(role, VARIADIC pairs): of pairs of a name and a text those whose text is not NULL, and the role, as an
 * object.
 */
Datum
roster_new_values(PG_FUNCTION_ARGS)
{
	JsonbParseState *values = NULL;

	if (fcinfo->flinfo->fn_extra == NULL)
	{
		require_pairs(fcinfo, 1);
		fcinfo->flinfo->fn_extra = fcinfo->flinfo;
	}
	pushJsonbValue(&values, WJB_BEGIN_OBJECT, NULL);
	for (int i = 1; i < PG_NARGS(); i += 2)
		if (!PG_ARGISNULL(i) && !PG_ARGISNULL(i + 1))
		{
			text	   *name = PG_GETARG_TEXT_PP(i);

			push_pair(&values, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), PG_GETARG_TEXT_PP(i + 1));
		}
	if (!PG_ARGISNULL(0))
		push_pair(&values, "role", strlen("role"), PG_GETARG_TEXT_PP(0));
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&values, WJB_END_OBJECT, NULL)));
}
