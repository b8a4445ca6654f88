/*
 * plan.c
 *	  What the plan does for each row of a roster, where SQL's own means cost too
 *	  much: the aggregate repeated(text), the values that come more than once;
 *	  agrees(VARIADIC "any"), whether nothing that a roster gives differs; and
 *	  changed_values(...), what differs, as the before and after of a change.
 *
 * agrees compares byte for byte; repeated keeps 64 bits of a hash of each value
 * and takes those of one hash for one value.  Must survive as many values as
 * there are people.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/error.h"

typedef struct SeenHash
{
	uint64		hash;
	char		status;
} SeenHash;

static inline bool
same_bytes(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

#define SH_PREFIX seen
#define SH_ELEMENT_TYPE SeenHash
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(table, key) ((uint32) (key))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Repeated
{
	seen_hash  *seen;
	ArrayBuildState *values;	/* each that had been seen before, as often as it was */
} Repeated;

ROSTER_FUNCTION(roster_repeated_add);
ROSTER_FUNCTION(roster_repeated_values);
ROSTER_FUNCTION(roster_agrees);
ROSTER_FUNCTION(roster_changed_values);

Datum
roster_repeated_add(PG_FUNCTION_ARGS)
{
	Repeated   *repeated;
	MemoryContext aggregate;
	text	   *value;
	bool		found;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("repeated_add was called outside an aggregate"),
				 errhint("Call the aggregate: SELECT minga_roster_internal.repeated(value) FROM ...")));
	if (PG_ARGISNULL(0))
	{
		repeated = MemoryContextAllocZero(aggregate, sizeof(Repeated));
		repeated->seen = seen_create(aggregate, 1024, NULL);
	}
	else
		repeated = (Repeated *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(1))
		PG_RETURN_POINTER(repeated);

	value = PG_GETARG_TEXT_PP(1);
	seen_insert(repeated->seen,
				hash_bytes_extended((const unsigned char *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), 0), &found);
	if (found)
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
push_pair(JsonbParseState * *state, const text *name, const text *value)
{
	JsonbValue	item;

	item.type = jbvString;
	item.val.string.val = VARDATA_ANY(name);
	item.val.string.len = VARSIZE_ANY_EXHDR(name);
	pushJsonbValue(state, WJB_KEY, &item);
	if (value == NULL)
		item.type = jbvNull;
	else
	{
		item.val.string.val = VARDATA_ANY(value);
		item.val.string.len = VARSIZE_ANY_EXHDR(value);
	}
	pushJsonbValue(state, WJB_VALUE, &item);
}

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
 * changed_values(columns, cleared, now, due, now, due, ...): objects of the
 * columns whose due value is another than the one now: before with what is
 * there now, after with what is due.  columns has the name of each pair, NULL
 * for one that is left out.  A NULL that is due counts in cleared columns only.
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

		require_pairs(fcinfo, 2);
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
	if (count != (PG_NARGS() - 2) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changed_values has %d names for %d pairs", count, (PG_NARGS() - 2) / 2)));
	pushJsonbValue(&before, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&after, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < count; i++)
	{
		int			pair = 2 + 2 * i;
		text	   *now = PG_ARGISNULL(pair) ? NULL : PG_GETARG_TEXT_PP(pair);
		text	   *due = PG_ARGISNULL(pair + 1) ? NULL : PG_GETARG_TEXT_PP(pair + 1);
		text	   *name;

		if (left_out[i] || (now == NULL && due == NULL) || (now != NULL && due != NULL && same_bytes(now, due)))
			continue;
		name = DatumGetTextPP(names[i]);
		if (due == NULL && (PG_ARGISNULL(1) || !has_name(PG_GETARG_ARRAYTYPE_P(1), name)))
			continue;
		push_pair(&before, name, now);
		push_pair(&after, name, due);
	}
	values[0] = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&before, WJB_END_OBJECT, NULL)));
	values[1] = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&after, WJB_END_OBJECT, NULL)));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}
