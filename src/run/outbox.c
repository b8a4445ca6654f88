/*
 * outbox.c
 *	  Sends the mail that waits in the outbox.
 *
 * One worker sends at a time, under a lock of its own, after all else that it has
 * to do: a mail server that is slow or hangs delays no run.  A mail is claimed in
 * one transaction (its next attempt moved into the future), sent with no
 * transaction open, and marked in another one.  So it is sent once, however long
 * the server takes, and after a crash between the server's last answer and the
 * mark it is sent again rather than lost, with the same Message-ID.
 *
 * A server that can't be used is asked once for all mail that waits, and left
 * alone for a while (mail_server).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/error.h"
#include "base/redact.h"
#include "base/run_row.h"
#include "base/secrets.h"
#include "base/settings.h"
#include "base/transaction.h"
#include "net/smtp.h"
#include "net/transfer.h"
#include "run/mail_token.h"
#include "run/message.h"
#include "run/outbox.h"
#include "run/run_locks.h"

typedef struct WaitingMail
{
	int64		mail;
	Message		message;
} WaitingMail;

/* What the mails of one call have in common. */
typedef struct Sender
{
	int64		test_run;		/* whose mails alone are sent, or 0: all that are due */
	MemoryContext context;
	TransferPool *pool;
	char	   *address;		/* in minga_roster.smtp_from */
	char	   *secret;			/* NULL: no log-in */
	MailToken	token;
	SmtpSession *session;		/* NULL: none is open */
	int			nsent;			/* mails of it */
	bool		is_noted;		/* that the server can be used */
} Sender;

/* As outbox.cause and mail_server.cause have them. */
static const char *const causes[] = {
	[SMTP_UNREACHABLE] = "unreachable",
	[SMTP_TIMEOUT] = "timeout",
	[SMTP_TLS] = "tls",
	[SMTP_LOGIN] = "login",
	[SMTP_SENDER] = "sender",
	[SMTP_PROTOCOL] = "protocol",
	[SMTP_RECIPIENT] = "recipient",
	[SMTP_DEFERRED] = "deferred",
	[SMTP_CONTENT] = "content",
};

/* Why no mail can be sent, where that is known. */
typedef struct Trouble
{
	const char *cause;			/* NULL: none */
	char	   *words;
} Trouble;

/* One statement with these arguments, a NULL text as NULL.  In a transaction of its own. */
static void
execute_with_texts(const char *statement, int64 number, const char *first, const char *second)
{
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID};
	Datum		values[3] = {Int64GetDatum(number)};
	char		nulls[] = "   ";

	begin_worker_transaction();
	for (int i = 1; i < 3; i++)
	{
		const char *text = i == 1 ? first : second;

		if (text == NULL)
			nulls[i] = 'n';
		else
			values[i] = CStringGetTextDatum(text);
	}
	execute_statement(statement, 3, types, values, nulls);
	commit_worker_transaction();
}

/* The outbox shows why none of what waits could be sent; or, without a cause, that the server can be used. */
static void
note_server(const char *cause, const char *words)
{
	execute_with_texts("SELECT minga_roster_internal.note_mail_server($2, $3) WHERE $1 = 0", 0, cause, words);
}

/* Whether mail is due and the server may be asked.  In a transaction of its own. */
static bool
is_mail_due(void)
{
	bool		is_due;
	bool		isnull;

	begin_worker_transaction();
	SPI_execute("SELECT minga_roster_internal.is_mail_due()", true, 1);
	is_due = SPI_processed == 1 &&
		DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	commit_worker_transaction();
	return is_due;
}

/*
 * Claims the mail that is due longest, or the next one of a test.  False when
 * there is none.  In a transaction of its own; the mail is palloc'd in the current
 * memory context.
 */
static bool
claim_mail(const Sender *sender, WaitingMail *waiting)
{
	MemoryContext owner = CurrentMemoryContext;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(sender->test_run)};
	bool		found;

	begin_worker_transaction();
	SPI_execute_with_args(psprintf("SELECT mail, email, subject, body_text, body_html, origin FROM "
								   "minga_roster_internal.%s",
								   sender->test_run == 0 ? "claim_mail() WHERE $1 = 0" : "claim_test_mail($1)"),
						  1, types, values, NULL, false, 1);
	found = SPI_processed > 0;
	if (found)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		MemoryContext spi = MemoryContextSwitchTo(owner);
		const char *at = strrchr(sender->address, '@');
		char	   *message_id;
		bool		isnull;

		waiting->mail = DatumGetInt64(SPI_getbinval(tuple, tupdesc, 1, &isnull));
		waiting->message.to = SPI_getvalue(tuple, tupdesc, 2);
		waiting->message.from = roster_smtp_from;
		waiting->message.subject = SPI_getvalue(tuple, tupdesc, 3);
		waiting->message.text = SPI_getvalue(tuple, tupdesc, 4);
		waiting->message.html = SPI_getvalue(tuple, tupdesc, 5);
		message_id = psprintf("<minga-roster." INT64_FORMAT ".%s%s>", waiting->mail, SPI_getvalue(tuple, tupdesc, 6),
							  at == NULL ? "@localhost" : at);
		for (char *c = message_id; *c != '\0'; c++)
			*c = *c == '/' ? '.' : *c;
		waiting->message.message_id = message_id;
		MemoryContextSwitchTo(spi);
	}
	commit_worker_transaction();
	return found;
}

/* The mail server's password or client secret, or NULL where it wants none; palloc'd. */
static char *
load_mail_secret(void)
{
	MemoryContext owner = CurrentMemoryContext;
	char	   *secret;

	if (roster_smtp_user[0] == '\0' && roster_smtp_token_url[0] == '\0')
		return NULL;
	begin_worker_transaction();
	MemoryContextSwitchTo(owner);	/* the one copy, to be wiped */
	secret = load_secret("smtp", "");
	commit_worker_transaction();
	return secret;
}

/* A token that is good for a while; a new one where the present one is not, or was refused. */
static void
renew_token(Sender *sender, Trouble *trouble)
{
	bool		is_setting;

	trouble->words = mail_token_fetch(sender->pool, sender->secret, &sender->token, &is_setting);
	if (trouble->words != NULL)
		trouble->cause = is_setting ? "settings" : "token";
}

/* Connects and logs in. */
static void
open_session(Sender *sender, Trouble *trouble)
{
	MemoryContext caller = MemoryContextSwitchTo(sender->context);
	SmtpLogin	login = {0};
	SmtpResult	result = {SMTP_LOGIN, NULL};
	bool		by_token = roster_smtp_token_url[0] != '\0';
	bool		is_renewed = false;

	trouble->cause = NULL;
	sender->nsent = 0;
	login.user = sender->secret == NULL ? NULL : roster_smtp_user;
	login.password = sender->secret;
	/* A token may have been taken back before its time: it is renewed, once. */
	while (sender->session == NULL && result.fault == SMTP_LOGIN && !is_renewed && trouble->cause == NULL)
	{
		is_renewed = !by_token || sender->token.token == NULL || sender->token.good_until <= GetCurrentTimestamp() ||
			result.words != NULL;
		if (by_token && is_renewed)
			renew_token(sender, trouble);
		login.token = by_token ? sender->token.token : NULL;
		if (trouble->cause == NULL)
			sender->session = smtp_open(sender->pool, &login, &result);
	}
	if (sender->session == NULL && trouble->cause == NULL)
	{
		trouble->cause = causes[result.fault];
		trouble->words = result.words;
	}
	MemoryContextSwitchTo(caller);
}

static void
close_session(Sender *sender)
{
	if (sender->session != NULL)
		smtp_close(sender->session);
	sender->session = NULL;
}

/* Sends a mail; in a new session where the one that has sent others is over. */
static void
send_mail(Sender *sender, const WaitingMail *waiting, SmtpResult *result, Trouble *trouble)
{
	char	   *content = message_compose(&waiting->message);
	bool		again;

	trouble->cause = NULL;
	do
	{
		smtp_send(sender->session, sender->address, waiting->message.to, content, result);
		again = false;
		if (result->fault != SMTP_OK && !smtp_fault_is_of_mail(result->fault))
		{
			again = sender->nsent > 0 && (result->fault == SMTP_UNREACHABLE || result->fault == SMTP_SENDER);
			close_session(sender);
			if (again)
				open_session(sender, trouble);
		}
		else
			sender->nsent++;
	} while (again && trouble->cause == NULL);
}

/* What waits for the mail server, in pg_stat_activity: a mail, or the log-in.  A test shows its run. */
static void
show_mail(const Sender *sender, int64 mail)
{
	char		activity[64] = "minga_roster: log-in at the mail server";

	if (mail != 0)
		snprintf(activity, sizeof(activity), "minga_roster: mail " INT64_FORMAT, mail);
	if (sender->test_run == 0)
		pgstat_report_activity(STATE_RUNNING, activity);
}

/*
 * Sends what is due, one mail after the other, until there is none or the server
 * can't be used.  Not in a transaction.
 */
static void
send_due(Sender *sender)
{
	MemoryContext of_mail = AllocSetContextCreate(sender->context, "minga_roster one mail", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(of_mail);
	Trouble		trouble = {0};
	WaitingMail waiting;

	show_mail(sender, 0);
	open_session(sender, &trouble);
	while (trouble.cause == NULL && claim_mail(sender, &waiting))
	{
		SmtpResult	result = {SMTP_RECIPIENT, "the recipient or the subject contains a line break"};

		show_mail(sender, waiting.mail);
		if (message_is_fit(&waiting.message))
			send_mail(sender, &waiting, &result, &trouble);
		execute_with_texts("SELECT minga_roster_internal.mark_mail($1, $2, $3)", waiting.mail,
						   trouble.cause != NULL ? trouble.cause : causes[result.fault],
						   trouble.cause != NULL ? trouble.words : result.words);
		if (trouble.cause == NULL && result.fault != SMTP_OK && !smtp_fault_is_of_mail(result.fault))
		{
			trouble.cause = causes[result.fault];
			trouble.words = result.words;
		}
		if (trouble.cause == NULL && !sender->is_noted)
		{
			note_server(NULL, NULL);
			sender->is_noted = true;
		}
		if (trouble.cause == NULL)
			MemoryContextReset(of_mail);
	}
	close_session(sender);
	if (trouble.cause != NULL)
		note_server(trouble.cause, trouble.words);
	MemoryContextSwitchTo(caller);
}

/* The same, once the settings are there. */
static void
send_with_settings(int64 test_run)
{
	Sender		sender = {.test_run = test_run,.context = CurrentMemoryContext};

	sender.address = message_address(roster_smtp_from);
	if (strpbrk(roster_smtp_from, "\r\n") != NULL)
		note_server("settings", "minga_roster.smtp_from contains a line break");
	else
	{
		sender.secret = load_mail_secret();
		sender.pool = transfer_open();
		send_due(&sender);
	}
	if (sender.secret != NULL)
		explicit_bzero(sender.secret, strlen(sender.secret));
}

/*
 * Sends what is due, or the mails of a test.  What is wrong with the mail server
 * or its settings is in the outbox and no error; throws on an interrupt alone.
 */
static void
send_or_note(int64 test_run)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext context;
	ErrorData  *volatile error = NULL;

	context = AllocSetContextCreate(TopMemoryContext, "minga_roster mail", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		send_with_settings(test_run);
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
		note_server("settings", error_may_be_stored(error) ? error->message :
					psprintf("sending mail failed with SQLSTATE %s", unpack_sql_state(error->sqlerrcode)));
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}

/*
 * Sends the mail that waits, unless another worker is at it: the last that a
 * worker does.  What is wrong with the mail server or its settings is in the
 * outbox and no error; throws on an interrupt.
 */
void
send_waiting_mail(void)
{
	if (roster_smtp_url[0] == '\0' || roster_smtp_from[0] == '\0' || !run_lock_take(LOCK_MAIL, 1))
		return;
	if (is_mail_due())
		send_or_note(0);
	pgstat_report_activity(STATE_IDLE, NULL);
	run_lock_release(LOCK_MAIL, 1);
}

/*
 * A test mail to each recipient of the run's connection, at once and by a session
 * of its own.  Not in a transaction; throws where no mail server is set or there
 * is no recipient.  How it went is in the outbox.
 */
void
send_test_mail(RosterRun *run)
{
	execute_with_texts("SELECT minga_roster_internal.write_test_mail($1), $2::text, $3::text", run->run, NULL, NULL);
	send_or_note(run->run);
	execute_with_texts("SELECT minga_roster_internal.end_test_mail($1), $2::text, $3::text", run->run, NULL, NULL);
}
