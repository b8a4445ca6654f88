/*
 * fault.c
 *	  A fault as a person has to hear of it: what is wrong, what was found, whose
 *	  side it is on and what to do.
 *
 * SQLSTATE classes 22, 28 and 42 mean "will be the same in half an hour" to the
 * evening; faults that may pass are of class 08 or 53.
 *
 * The SIS's own words on it are a field of their own: those who may read a
 * fault may not always read them.  An error that was raised of a fault has them in its
 * detail_log alone.
 */
#include "postgres.h"

#include "base/error.h"
#include "base/text.h"
#include "oneroster/fault.h"

#define FAULT_TEXT_MAX 16384

/* A fault from texts, which are made fit to be read, since a server's words may be in them; palloc'd. */
RosterFault *
fault_make(int sqlstate, const char *message, const char *detail, const char *hint)
{
	RosterFault *fault = palloc0(sizeof(RosterFault));

	fault->sqlstate = sqlstate;
	fault->message = printable(message, FAULT_TEXT_MAX);
	fault->detail = detail == NULL ? NULL : printable(detail, FAULT_TEXT_MAX);
	fault->hint = hint == NULL ? NULL : printable(hint, FAULT_TEXT_MAX);
	return fault;
}

/* The same fault in the current memory context. */
RosterFault *
fault_copy(const RosterFault *fault)
{
	RosterFault *copy = palloc(sizeof(RosterFault));

	*copy = *fault;
	copy->message = pstrdup(fault->message);
	copy->detail = fault->detail == NULL ? NULL : pstrdup(fault->detail);
	copy->hint = fault->hint == NULL ? NULL : pstrdup(fault->hint);
	copy->words = fault->words == NULL ? NULL : pstrdup(fault->words);
	return copy;
}

/* The detail with the SIS's own words, where it has said any; palloc'd or the fault's. */
static char *
detail_with_words(const RosterFault *fault)
{
	return fault->words == NULL ? fault->detail :
		psprintf("%.*s; the SIS says: %s", (int) strlen(fault->detail) - 1, fault->detail, fault->words);
}

/* The detail for those who may not read the SIS's own words; palloc'd or the fault's. */
static char *
detail_without_words(const RosterFault *fault)
{
	return fault->words == NULL ? fault->detail :
		psprintf("%.*s, with a description.", (int) strlen(fault->detail) - 1, fault->detail);
}

/* Raises a fault as an error. */
void
fault_raise(const RosterFault *fault)
{
	ereport(ERROR,
			(errcode(fault->sqlstate),
			 errmsg("%s", fault->message),
			 fault->detail != NULL ? errdetail("%s", detail_without_words(fault)) : 0,
			 fault->words != NULL ? errdetail_log("%s", detail_with_words(fault)) : 0,
			 fault->hint != NULL ? errhint("%s", fault->hint) : 0));
}

/*
 * The detail of an error, with the SIS's own words where it was raised of a fault
 * that has some.  Of others the detail_log is the server's alone: that of a
 * deadlock has the statements of other sessions.
 */
char *
fault_detail_of_error(const ErrorData *error)
{
	bool		is_ours = error->domain != NULL && strcmp(error->domain, TEXTDOMAIN) == 0;

	return is_ours && error->detail_log != NULL ? error->detail_log : error->detail;
}

static char *
as_sentences(const char *message, const char *detail)
{
	char	   *sentences = detail == NULL ? psprintf("%s.", message) : psprintf("%s. %s", message, detail);

	sentences[0] = pg_ascii_toupper((unsigned char) sentences[0]);
	return sentences;
}

/* Message and detail of a fault as sentences, with or without the SIS's own words; palloc'd. */
char *
fault_sentences(const RosterFault *fault, bool with_words)
{
	return as_sentences(fault->message, with_words ? detail_with_words(fault) : detail_without_words(fault));
}

/* The same of an error, without the SIS's own words. */
char *
fault_sentences_of_error(const ErrorData *error)
{
	return as_sentences(error->message, error->detail);
}
