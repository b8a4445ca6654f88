/*
 * outbox.c
 *	  Sends the mail that waits in the outbox.
 *
 * A mail is claimed in one transaction (its next attempt moved into the future),
 * sent with no transaction open, and marked in another one: two senders do not
 * send it twice, a mail server that is down delays it, and after a crash in
 * between it is sent again rather than lost.
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/run_row.h"
#include "base/secrets.h"
#include "base/settings.h"
#include "base/transaction.h"
#include "net/smtp.h"
#include "net/transfer.h"
#include "run/outbox.h"

/* With "Subject: " a line of 78 characters at most (RFC 5322), and of 76 with an encoded word (RFC 2047). */
#define PLAIN_HEADER_MAX 69
#define ENCODED_WORD_BYTES 39

typedef struct WaitingMail
{
	int64		mail;
	MailMessage message;
} WaitingMail;

/* Bytes of the character there; a setting from a file may break off in one. */
static int
character_len(const char *value)
{
	return strnlen(value, pg_encoding_mblen(PG_UTF8, value));
}

/*
 * Whether a header may hold the value as it is: printable ASCII that fits into
 * a line and that no reader takes for an encoded word.
 */
static bool
is_plain_header(const char *value)
{
	const char *c = value;

	while (*c >= ' ' && *c <= '~')
		c++;
	return *c == '\0' && c - value <= PLAIN_HEADER_MAX && strstr(value, "=?") == NULL;
}

/* A header's value, where it is not plain as RFC 2047 has it: words of whole characters, a line for each; palloc'd. */
static char *
encode_header(const char *value)
{
	StringInfoData encoded;

	if (is_plain_header(value))
		return pstrdup(value);
	initStringInfo(&encoded);
	while (*value != '\0')
	{
		char		word[96];
		int			len = 0;
		int			n;

		while (value[len] != '\0' && len + character_len(value + len) <= ENCODED_WORD_BYTES)
			len += character_len(value + len);
		n = pg_b64_encode((const void *) value, len, word, sizeof(word) - 1);
		word[Max(n, 0)] = '\0';
		appendStringInfo(&encoded, "%s=?UTF-8?B?%s?=", encoded.len > 0 ? "\r\n " : "", word);
		value += len;
	}
	return encoded.data;
}

/* The address in "Name <address>"; palloc'd. */
static char *
address_in(const char *mailbox)
{
	const char *start = strrchr(mailbox, '<');
	const char *end = start == NULL ? NULL : strchr(start, '>');

	return end == NULL ? pstrdup(mailbox) : pnstrdup(start + 1, end - start - 1);
}

/* A mailbox as a header has it, the name in front encoded; palloc'd. */
static char *
encode_mailbox(const char *mailbox)
{
	const char *start = strrchr(mailbox, '<');
	int			len = start == NULL ? 0 : start - mailbox;
	char	   *name;

	while (len > 0 && mailbox[len - 1] == ' ')
		len--;
	if (len == 0)
		return pstrdup(mailbox);
	name = pnstrdup(mailbox, len);
	return psprintf("%s%s %s", encode_header(name), is_plain_header(name) ? "" : "\r\n", start);
}

/* The time as RFC 5322 has it, always in English and UTC; palloc'd. */
static char *
mail_date(void)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] =
	{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t		now = time(NULL);
	struct tm	utc;

	gmtime_r(&now, &utc);
	return psprintf("%s, %d %s %d %02d:%02d:%02d +0000", days[utc.tm_wday], utc.tm_mday, months[utc.tm_mon],
					1900 + utc.tm_year, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

/*
 * Claims the mail that is due longest.  False when there is none.  In a
 * transaction of its own; the mail is palloc'd in the current memory context.
 */
static bool
claim_mail(WaitingMail *waiting)
{
	MemoryContext owner = CurrentMemoryContext;
	bool		found;

	begin_worker_transaction();
	SPI_execute("SELECT mail, email, subject, body_text, body_html, origin FROM "
				"minga_roster_internal.claim_mail()", false, 1);
	found = SPI_processed > 0;
	if (found)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		MemoryContext spi = MemoryContextSwitchTo(owner);
		bool		isnull;
		char	   *sender = address_in(roster_smtp_from);
		const char *at = strrchr(sender, '@');

		memset(waiting, 0, sizeof(*waiting));
		waiting->mail = DatumGetInt64(SPI_getbinval(tuple, tupdesc, 1, &isnull));
		waiting->message.to = pstrdup(SPI_getvalue(tuple, tupdesc, 2));
		waiting->message.subject = SPI_getvalue(tuple, tupdesc, 3);
		waiting->message.text = pstrdup(SPI_getvalue(tuple, tupdesc, 4));
		waiting->message.html = pstrdup(SPI_getvalue(tuple, tupdesc, 5));
		waiting->message.from = encode_mailbox(roster_smtp_from);
		waiting->message.sender = sender;
		waiting->message.date = mail_date();
		waiting->message.message_id = psprintf("<minga-roster." INT64_FORMAT ".%s%s>", waiting->mail,
											   SPI_getvalue(tuple, tupdesc, 6), at == NULL ? "@localhost" : at);
		for (char *c = (char *) waiting->message.message_id; *c != '\0'; c++)
		{
			if (*c == '/')
				*c = '.';
		}
		MemoryContextSwitchTo(spi);
	}
	commit_worker_transaction();
	return found;
}

/* Notes how sending went.  In a transaction of its own. */
static void
mark_mail(int64 mail, TransferFault fault, const char *fault_text)
{
	Oid			types[] = {INT8OID, BOOLOID, BOOLOID, TEXTOID};
	Datum		values[4];
	char		nulls[] = "    ";

	begin_worker_transaction();
	values[0] = Int64GetDatum(mail);
	values[1] = BoolGetDatum(fault == TRANSFER_OK);
	values[2] = BoolGetDatum(fault == TRANSFER_REFUSED);
	if (fault_text != NULL)
		values[3] = CStringGetTextDatum(fault_text);
	else
		nulls[3] = 'n';
	SPI_execute_with_args("SELECT minga_roster_internal.mark_mail($1, $2, $3, $4)", 4, types, values, nulls, false, 0);
	commit_worker_transaction();
}

/* The mail server's password, or NULL where it wants none; palloc'd. */
static char *
load_password(void)
{
	MemoryContext owner = CurrentMemoryContext;
	char	   *password;

	if (roster_smtp_user[0] == '\0')
		return NULL;
	begin_worker_transaction();
	MemoryContextSwitchTo(owner);	/* the one copy, to be wiped */
	password = load_secret("smtp", "");
	commit_worker_transaction();
	return password;
}

/*
 * Sends what is due, one mail after the other, until there is none or the mail
 * server cannot be reached or used.  Not in a transaction.
 */
static void
send_due(void)
{
	TransferPool *pool = NULL;
	WaitingMail waiting;
	char	   *password = NULL;
	TransferFault fault = TRANSFER_OK;

	while ((fault == TRANSFER_OK || fault == TRANSFER_REFUSED) && claim_mail(&waiting))
	{
		char	   *fault_text = NULL;

		if (pool == NULL)
		{
			password = load_password();
			pool = transfer_open();
		}
		if (strpbrk(waiting.message.to, "\r\n") != NULL || strpbrk(waiting.message.subject, "\r\n") != NULL)
		{
			fault = TRANSFER_REFUSED;
			fault_text = "the recipient or the subject contains a line break";
		}
		else
		{
			waiting.message.subject = encode_header(waiting.message.subject);
			fault = smtp_perform(pool, &waiting.message, roster_smtp_user, password, &fault_text);
		}
		mark_mail(waiting.mail, fault, fault_text);
	}
	if (password != NULL)
		explicit_bzero(password, strlen(password));
}

/* Calls a function of the outbox for a run.  In a transaction of its own. */
static void
call_for_run(const char *statement, int64 run)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run)};

	begin_worker_transaction();
	SPI_execute_with_args(statement, 1, types, values, NULL, false, 0);
	commit_worker_transaction();
}

/* The outbox shows why none of what waits could be sent.  In a transaction of its own. */
static void
note_fault(const char *message)
{
	Oid			types[] = {TEXTOID};
	Datum		values[1];

	begin_worker_transaction();
	values[0] = CStringGetTextDatum(message);
	SPI_execute_with_args("UPDATE minga_roster.outbox SET last_error = $1 WHERE state = 'waiting' AND last_error IS "
						  "DISTINCT FROM $1",
						  1, types, values, NULL, false, 0);
	commit_worker_transaction();
}

/*
 * Sends the mail that waits, if a mail server is set.  What is wrong with
 * the mail server or its settings is in the outbox and no error; throws on an
 * interrupt.
 */
void
send_waiting_mail(void)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext context;
	ErrorData  *volatile error = NULL;

	if (roster_smtp_url[0] == '\0' || roster_smtp_from[0] == '\0')
		return;
	context = AllocSetContextCreate(TopMemoryContext, "minga_roster mail", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		send_due();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		{
			MemoryContextSwitchTo(outer);
			MemoryContextDelete(context);
			PG_RE_THROW();
		}
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
	}
	PG_END_TRY();
	if (error != NULL)
		note_fault(error->message);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}

/*
 * A test mail to each recipient of the run's connection, ahead of what waits.
 * Not in a transaction; throws where no mail server is set or there is no
 * recipient.  How it went is in the outbox.
 */
void
send_test_mail(RosterRun *run)
{
	call_for_run("SELECT minga_roster_internal.write_test_mail($1)", run->run);
	send_waiting_mail();
	call_for_run("SELECT minga_roster_internal.end_test_mail($1)", run->run);
}
