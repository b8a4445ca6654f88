/*
 * plan.c
 *	  What the plan does for each row of a roster, where SQL's own means cost too
 *	  much: the aggregate repeated(text), the values that come more than once, and
 *	  agrees(VARIADIC "any"), whether nothing that a roster gives differs.
 *
 * agrees compares byte for byte; repeated keeps 64 bits of a hash of each value
 * and takes those of one hash for one value.  Must survive as many values as
 * there are people.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

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
		for (int i = 0; i < count; i++)
			if (get_fn_expr_argtype(fcinfo->flinfo, i) != TEXTOID)
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("argument %d of agrees is not of type text", i + 1),
						 errdetail("Found: %s.", format_type_be(get_fn_expr_argtype(fcinfo->flinfo, i))),
						 errhint("Cast it to text.")));
		if (count % 2 != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("agrees takes pairs"),
					 errdetail("It was called with %d arguments.", count),
					 errhint("Give for each value the one that it is compared with.")));
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
