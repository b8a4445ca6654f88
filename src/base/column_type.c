/*
 * column_type.c
 *	  Types of the columns of a people relation, as text for the statements that
 *	  sql/people/statements.sql builds: each name quoted and with its schema, so that
 *	  no search_path changes what a statement means.
 *
 * They are looked up for each statement: ALTER TABLE may change a column's type
 * between two runs.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/compat.h"

ROSTER_FUNCTION(roster_base_type);
ROSTER_FUNCTION(roster_type_name);
ROSTER_FUNCTION(roster_equality);

/* The type's name, or NULL for an OID that is no type. */
static char *
type_name(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Form_pg_type form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	form = (Form_pg_type) GETSTRUCT(tuple);
	name = quote_qualified_identifier(get_namespace_name(form->typnamespace), NameStr(form->typname));
	ReleaseSysCache(tuple);
	return name;
}

/* The operator as an expression spells it, OPERATOR(schema.name). */
static char *
operator_name(Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return name;
}

/* base_type(type): the type that a domain is based on; any other type itself; NULL for an OID that is no type. */
Datum
roster_base_type(PG_FUNCTION_ARGS)
{
	Oid			type = PG_GETARG_OID(0);

	if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)))
		PG_RETURN_NULL();
	PG_RETURN_OID(getBaseType(type));
}

/* type_name(type): its name, quoted and with its schema; NULL for an OID that is no type. */
Datum
roster_type_name(PG_FUNCTION_ARGS)
{
	char	   *name = type_name(PG_GETARG_OID(0));

	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(name));
}

/*
 * equality(type): the equality of the default btree operator class, and the type
 * that it compares.  Both are NULL for a type that has none, for rows, and for an
 * OID that is no type.
 */
Datum
roster_equality(PG_FUNCTION_ARGS)
{
	Oid			type = PG_GETARG_OID(0);
	TypeCacheEntry *entry;
	TupleDesc	descriptor;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};

	if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	type = getBaseType(type);
	entry = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_BTREE_OPFAMILY);
	/* eq_opr may be that of a hash operator class; arrays have it if their elements do */
	if (OidIsValid(entry->btree_opf) && OidIsValid(entry->eq_opr) && entry->typtype != TYPTYPE_COMPOSITE)
	{
		/* a class for all enums, arrays or ranges compares the type itself */
		Oid			operand = IsPolymorphicType(entry->btree_opintype) ? type : entry->btree_opintype;

		values[0] = CStringGetTextDatum(type_name(operand));
		values[1] = CStringGetTextDatum(operator_name(entry->eq_opr));
		nulls[0] = nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}
