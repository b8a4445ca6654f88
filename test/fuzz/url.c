/*
 * url.c
 *	  Fuzz target: the URL normalizer, given what people paste.
 *
 * An input is a URL and, after a line feed, an App Name.  What comes out must
 * be text, and the same again when it goes in.
 */
#include "backend.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define TOKEN_PATH "/campus/oauth2/token?appName={app}"

bool		roster_insecure_loopback = true;
char	   *roster_allowed_hosts = "localhost:*, [::1]:*, 127.0.0.1:80, campus.mingacityschools.us:8443";

extern Datum roster_normalize_url(PG_FUNCTION_ARGS);

static const char *const base_paths[] = {
	"/campus/api/oneroster/v1p1/{app}/ims/oneroster/v1p1",
	"/campus/oneroster/{app}/ims/oneroster/v1p1",
	"{prefix}/ims/oneroster/v1p1",
};

typedef struct Normalized
{
	const char *url;
	const char *app;			/* or NULL */
	char	   *out[3];			/* app_name, base_url, token_url, each or NULL */
} Normalized;

static Normalized *current;

/* The function's surroundings: an array of paths in, a row of three texts out. */

void
deconstruct_array(ArrayType *array, Oid elmtype, int elmlen, bool elmbyval, char elmalign, Datum **elemsp,
				  bool **nullsp, int *nelemsp)
{
	*elemsp = palloc(sizeof(Datum) * lengthof(base_paths));
	for (int i = 0; i < lengthof(base_paths); i++)
		(*elemsp)[i] = CStringGetTextDatum(base_paths[i]);
	*nelemsp = lengthof(base_paths);
}

char *
quote_literal_cstr(const char *rawstr)
{
	return psprintf("'%s'", rawstr);
}

TypeFuncClass
get_call_result_type(FunctionCallInfo fcinfo, Oid *resultTypeId, TupleDesc *resultTupleDesc)
{
	*resultTupleDesc = NULL;
	return TYPEFUNC_COMPOSITE;
}

TupleDesc
BlessTupleDesc(TupleDesc tupdesc)
{
	return tupdesc;
}

HeapTuple
heap_form_tuple(TupleDesc tupleDescriptor, Datum *values, bool *isnull)
{
	for (int i = 0; i < lengthof(current->out); i++)
		current->out[i] = isnull[i] ? NULL : TextDatumGetCString(values[i]);
	return palloc0(sizeof(HeapTupleData));
}

Datum
HeapTupleHeaderGetDatum(HeapTupleHeader tuple)
{
	return (Datum) 0;
}

static void
normalize(void *argument)
{
	LOCAL_FCINFO(fcinfo, 5);

	current = argument;
	memset(fcinfo, 0, SizeForFunctionCallInfo(5));
	fcinfo->nargs = 5;
	fcinfo->args[0].value = CStringGetTextDatum(current->url);
	fcinfo->args[1].value = PointerGetDatum(cstring_to_text("the paths"));
	fcinfo->args[2].value = CStringGetTextDatum(TOKEN_PATH);
	fcinfo->args[3].isnull = (current->app == NULL);
	if (current->app != NULL)
		fcinfo->args[3].value = CStringGetTextDatum(current->app);
	roster_normalize_url(fcinfo);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Normalized	first = {0};
	Normalized	second = {0};
	char	   *input;
	char	   *line_feed;

	backend_reset();
	/* a text value of the database is UTF-8 without NUL */
	if (!pg_verify_mbstr(PG_UTF8, (const char *) data, size, true))
		return 0;
	input = pnstrdup((const char *) data, size);
	line_feed = strrchr(input, '\n');
	first.url = input;
	if (line_feed != NULL)
	{
		*line_feed = '\0';
		first.app = line_feed + 1;
	}
	if (!backend_raises(normalize, &first))
	{
		for (int i = 0; i < lengthof(first.out); i++)
		{
			if (first.out[i] != NULL)
				check_text(first.out[i], strlen(first.out[i]), "what is stored is text");
		}
		check(first.out[0] != NULL && first.out[1] != NULL && first.out[2] != NULL, "name and URLs are known");
		check(strncmp(first.out[1], "https://", 8) == 0 || strncmp(first.out[1], "http://", 7) == 0,
			  "a base URL has a scheme");
		second.url = first.out[1];
		second.app = first.out[0];
		/* what is another version's segment passes for an App Name beside the URL, and not in it */
		if (pg_strcasecmp(first.out[0], "v1p2") != 0 && pg_strcasecmp(first.out[0], "learningdata") != 0)
		{
			check(!backend_raises(normalize, &second), "a normal URL is one");
			check(strcmp(first.out[1], second.out[1]) == 0, "a normal URL is normal");
		}
	}
	backend_reset();
	return 0;
}
