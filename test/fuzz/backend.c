/*
 * backend.c
 *	  What the code under test needs of a server, thin enough for a sanitizer to
 *	  see through: each palloc is a malloc of its own, so that a read past its
 *	  end, or after its context was reset, is seen.  An ereport formats its texts
 *	  and jumps to the caller that waits for it.
 *
 * JSON, UTF-8, NFC and snprintf are PostgreSQL's own, of libpgcommon and
 * libpgport.
 */
#include "backend.h"

#include <signal.h>
#include <stdarg.h>

#include "common/unicode_norm.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

typedef struct Context Context;

typedef struct Chunk
{
	Context    *context;
	struct Chunk *previous;
	struct Chunk *next;
	size_t		size;
} Chunk;

struct Context
{
	Chunk	   *chunks;
	Context    *parent;
	Context    *children;
	Context    *sibling;
};

static Context top;

MemoryContext CurrentMemoryContext = (MemoryContext) &top;
MemoryContext TopMemoryContext = (MemoryContext) &top;
volatile sig_atomic_t InterruptPending = false;
sigjmp_buf *PG_exception_stack = NULL;
ErrorContextCallback *error_context_stack = NULL;

void
check(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

/* A text that goes into a table of a database in UTF-8, or into a message. */
void
check_text(const char *value, size_t len, const char *what)
{
	check(pg_encoding_verifymbstr(PG_UTF8, value, len) == len && memchr(value, '\0', len) == NULL, what);
}

/* Memory */

static void *
chunk_alloc(Context *context, size_t size)
{
	Chunk	   *chunk;

	check(size <= MaxAllocSize, "allocations are below 1 GB");
	chunk = malloc(sizeof(Chunk) + size);
	check(chunk != NULL, "there is memory");
	chunk->context = context;
	chunk->size = size;
	chunk->previous = NULL;
	chunk->next = context->chunks;
	if (chunk->next != NULL)
		chunk->next->previous = chunk;
	context->chunks = chunk;
	return chunk + 1;
}

void
pfree(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	if (chunk->previous != NULL)
		chunk->previous->next = chunk->next;
	else
		chunk->context->chunks = chunk->next;
	if (chunk->next != NULL)
		chunk->next->previous = chunk->previous;
	free(chunk);
}

void *
palloc(Size size)
{
	return chunk_alloc((Context *) CurrentMemoryContext, size);
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void *
palloc_extended(Size size, int flags)
{
	return palloc0(size);
}

void *
repalloc(void *pointer, Size size)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;
	void	   *larger = chunk_alloc(chunk->context, size);

	memcpy(larger, pointer, Min(size, chunk->size));
	pfree(pointer);
	return larger;
}

char *
pnstrdup(const char *in, Size len)
{
	char	   *copy;

	len = strnlen(in, len);
	copy = palloc(len + 1);
	memcpy(copy, in, len);
	copy[len] = '\0';
	return copy;
}

char *
pstrdup(const char *in)
{
	return pnstrdup(in, strlen(in));
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	return chunk_alloc((Context *) context, size);
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size minContextSize, Size initBlockSize,
							  Size maxBlockSize)
{
	Context    *context = calloc(1, sizeof(Context));

	context->parent = (Context *) parent;
	context->sibling = context->parent->children;
	context->parent->children = context;
	return (MemoryContext) context;
}

void
MemoryContextReset(MemoryContext memory_context)
{
	Context    *context = (Context *) memory_context;

	while (context->children != NULL)
		MemoryContextDelete((MemoryContext) context->children);
	while (context->chunks != NULL)
		pfree(context->chunks + 1);
}

void
MemoryContextDelete(MemoryContext memory_context)
{
	Context    *context = (Context *) memory_context;
	Context   **place = &context->parent->children;

	check(CurrentMemoryContext != memory_context, "no context is deleted while it is the current one");
	MemoryContextReset(memory_context);
	while (*place != context)
		place = &(*place)->sibling;
	*place = context->sibling;
	free(context);
}

/* Before each input. */
void
backend_reset(void)
{
	CurrentMemoryContext = (MemoryContext) &top;
	MemoryContextReset((MemoryContext) &top);
}

/* Errors */

static int
format(const char *fmt, va_list args)
{
	char text[	8192];

	vsnprintf(text, sizeof(text), fmt, args);
	text[		pg_encoding_verifymbstr(PG_UTF8, text, strlen(text))] = '\0';

	return 0;
}

#define FORMATS(name) \
int \
name(const char *fmt,...) \
{ \
	va_list		args; \
 \
	va_start(args, fmt); \
	format(fmt, args); \
	va_end(args); \
	return 0; \
}

FORMATS(errmsg)
FORMATS(errdetail)
FORMATS(errhint)

int
errcode(int sqlerrcode)
{
	return 0;
}

bool
errstart(int elevel, const char *domain)
{
	return elevel >= ERROR;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	check(PG_exception_stack != NULL, "nothing is raised but where it is expected");
	siglongjmp(*PG_exception_stack, 1);
}

void
ProcessInterrupts(void)
{
}

/* Whether the function raised an error. */
bool
backend_raises(void (*function) (void *argument), void *argument)
{
	sigjmp_buf	place;
	bool		raised = true;

	if (sigsetjmp(place, 0) == 0)
	{
		PG_exception_stack = &place;
		function(argument);
		raised = false;
	}
	PG_exception_stack = NULL;
	CurrentMemoryContext = (MemoryContext) &top;
	return raised;
}

/* Texts */

bool
pg_verify_mbstr(int encoding, const char *mbstr, int len, bool noError)
{
	return pg_encoding_verifymbstr(encoding, mbstr, len) == len && memchr(mbstr, '\0', len) == NULL;
}

int
pg_encoding_mb2wchar_with_len(int encoding, const char *from, pg_wchar *to, int len)
{
	return pg_wchar_table[encoding].mb2wchar_with_len((const unsigned char *) from, to, len);
}

/* Everything is looked at closely. */
UnicodeNormalizationQC
unicode_is_normalized_quickcheck(UnicodeNormalizationForm form, const pg_wchar *input)
{
	return UNICODE_NORM_QC_MAYBE;
}

/* That of libpgcommon for programs gives what malloc gave. */
extern pg_wchar *__real_unicode_normalize(UnicodeNormalizationForm form, const pg_wchar *input);
extern pg_wchar *__wrap_unicode_normalize(UnicodeNormalizationForm form, const pg_wchar *input);

pg_wchar *
__wrap_unicode_normalize(UnicodeNormalizationForm form, const pg_wchar *input)
{
	pg_wchar   *composed = __real_unicode_normalize(form, input);
	size_t		size = sizeof(pg_wchar);
	pg_wchar   *copy;

	for (pg_wchar *c = composed; *c != 0; c++)
		size += sizeof(pg_wchar);
	copy = palloc(size);
	memcpy(copy, composed, size);
	free(composed);
	return copy;
}

/* With the escapes that the server writes. */
void
escape_json(StringInfo buf, const char *str)
{
	appendStringInfoChar(buf, '"');
	for (; *str != '\0'; str++)
	{
		if (*str == '"' || *str == '\\')
			appendStringInfoChar(buf, '\\');
		if ((unsigned char) *str < ' ')
			appendStringInfo(buf, "\\u%04x", (int) *str);
		else
			appendStringInfoChar(buf, *str);
	}
	appendStringInfoChar(buf, '"');
}

/* As PostgreSQL's, for the Gregorian calendar. */
int
date2j(int year, int month, int day)
{
	int			since = month > 2 ? month + 1 : month + 13;
	int			years = (month > 2 ? year : year - 1) + 4800;

	return years * 365 - 32167 + years / 4 - years / 100 + years / 400 + 7834 * since / 256 + day;
}

bool
parse_bool_with_len(const char *value, size_t len, bool *result)
{
	static const char *const words[] = {"true", "yes", "on", "1", "false", "no", "off", "0"};

	for (int i = 0; i < lengthof(words); i++)
	{
		if (len > 0 && len <= strlen(words[i]) && pg_strncasecmp(value, words[i], len) == 0)
		{
			*result = (i < 4);
			return true;
		}
	}
	return false;
}

text *
cstring_to_text(const char *s)
{
	size_t		len = strlen(s);
	text	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), s, len);
	return result;
}

char *
text_to_cstring(const text *t)
{
	return pnstrdup(VARDATA(t), VARSIZE(t) - VARHDRSZ);
}

struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}

struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	return datum;
}

/* Lists */

List *
lappend(List *list, void *datum)
{
	if (list == NIL)
	{
		list = palloc0(sizeof(List));
		list->type = T_List;
	}
	list->elements = list->elements == NULL
		? palloc(sizeof(ListCell))
		: repalloc(list->elements, (list->length + 1) * sizeof(ListCell));
	list->elements[list->length++].ptr_value = datum;
	return list;
}
