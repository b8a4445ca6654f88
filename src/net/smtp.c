/*
 * smtp.c
 *	  A session with the mail server.  libcurl connects, secures and, by a
 *	  password, logs in; a log-in by a token and the mails are ours, on libcurl's
 *	  connection.
 *
 * libcurl's own sending waits for the answer to a mail without an end that we
 * could set, deaf to interrupts.  Here every wait is on the latch and the socket:
 * a cancel, a shutdown and the death of the postmaster act at once.
 *
 * What it must survive: a server that accepts and then says nothing, at any step;
 * one that needs ten minutes to answer a mail (RFC 5321, 4.5.3.2), which is not
 * given up, since it may have taken the mail; one that hangs up; an answer without
 * an end.
 */
#include "postgres.h"

#include "common/base64.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/settings.h"
#include "base/text.h"
#include "net/smtp.h"
#include "net/transfer.h"
#include "net/transfer_internal.h"
#include "net/url.h"

/* The share of roster_request_timeout for a connection; an answer may take all of it. */
#define CONNECT_SHARE 10
#define LAST_ANSWER_MS (10 * 60 * 1000)
#define WAIT_MAX_MS 1000

#define ANSWER_MAX_BYTES (16 * 1024)
#define WORDS_MAX_BYTES 500
#define CHALLENGE_MAX_BYTES 200

/* Statuses: a challenge, the server hangs up, the first that says not now, the first that says no. */
#define CHALLENGE 334
#define CLOSING 421
#define NOT_NOW 400
#define REFUSED 500

/* What libcurl has heard; kept by a callback, so in no memory of ours. */
typedef struct Heard
{
	char		answer[4096];	/* the latest one, its lines as they came */
	size_t		answer_len;
	char		offers[4096];	/* what the server can do: its latest answer to EHLO */
	size_t		offers_len;
	bool		to_ehlo;
} Heard;

struct SmtpSession
{
	TransferPool *pool;
	Transfer   *transfer;
	curl_socket_t socket;
	Heard		heard;
	StringInfoData inbox;		/* what came and was not looked at yet */
	bool		lost;			/* the server hung up, or no longer makes sense */
};

/* An answer of the server. */
typedef struct Answer
{
	int			status;			/* 0: none came */
	char	   *words;			/* with the status in front; palloc'd */
	char	   *text;			/* of its first line, as it came; palloc'd */
} Answer;

bool
smtp_fault_is_of_mail(SmtpFault fault)
{
	return fault >= SMTP_RECIPIENT;
}

/* --- called by libcurl: must not ereport, must not palloc --- */

static void
append_heard(char *to, size_t *len, size_t size, const char *data, size_t data_len)
{
	size_t		taken = Min(data_len, size - 1 - *len);

	memcpy(to + *len, data, taken);
	*len += taken;
	to[*len] = '\0';
}

static int
hear(CURL *easy, curl_infotype type, char *data, size_t size, void *arg)
{
	Heard	   *heard = arg;

	if (type == CURLINFO_HEADER_OUT)
	{
		heard->answer_len = 0;
		heard->to_ehlo = size >= 5 && pg_strncasecmp(data, "EHLO ", 5) == 0;
		if (heard->to_ehlo)
			heard->offers_len = 0;
	}
	else if (type == CURLINFO_HEADER_IN)
	{
		append_heard(heard->answer, &heard->answer_len, sizeof(heard->answer), data, size);
		if (heard->to_ehlo)
			append_heard(heard->offers, &heard->offers_len, sizeof(heard->offers), data, size);
	}
	return 0;
}

/* --- end of what libcurl calls --- */

static void
set_result(SmtpResult *result, SmtpFault fault, const char *words)
{
	result->fault = fault;
	result->words = printable(words, WORDS_MAX_BYTES);
}

/* The length of an enhanced status code (RFC 2034) and the space behind it, or 0. */
static int
enhanced_status_len(const char *text)
{
	int			len = 0;

	for (int part = 0; part < 3; part++)
	{
		int			digits = strspn(text +len, "0123456789");

		if (digits == 0 || digits > 3 || text[len + digits] != (part < 2 ? '.' : ' '))
			return 0;
		len += digits + 1;
	}
	return len;
}

/*
 * Takes an answer from lines, as "250-first" and "250 last" have it: its status,
 * and its words in one line, without what may be an address or a secret.
 */
static void
take_answer(const char *lines, Answer *answer)
{
	StringInfoData words;
	int			enhanced = 0;

	answer->text = NULL;
	answer->status = atoi(lines);
	initStringInfo(&words);
	appendStringInfo(&words, "%d", answer->status);
	while (*lines != '\0')
	{
		int			len = strcspn(lines, "\r\n");
		const char *text = lines + Min(len, 4);

		if (answer->text == NULL)
		{
			answer->text = pnstrdup(text, lines + len - text);
			enhanced = enhanced_status_len(answer->text);
		}
		else if (enhanced > 0 && strncmp(text, answer->text, enhanced) == 0)
			text += enhanced + strspn(text +enhanced, " ");
		if (lines + len > text)
			appendStringInfo(&words, " %.*s", (int) (lines + len - text), text);
		lines += len;
		lines += strspn(lines, "\r\n");
	}
	answer->words = text_without_secrets(printable(words.data, WORDS_MAX_BYTES));
}

/* The end of the first whole answer in what came, or 0. */
static int
answer_end(const char *inbox)
{
	const char *line = inbox;
	const char *end;

	while ((end = strchr(line, '\n')) != NULL)
	{
		if (end - line < 4 || line[3] != '-')
			return end + 1 - inbox;
		line = end + 1;
	}
	return 0;
}

/* Waits until the socket is ready, an interrupt comes, or a second is over.  False once that time has come. */
static bool
wait_for_socket(SmtpSession *session, uint32 event, TimestampTz until)
{
	long		timeout_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

	if (timeout_ms <= 0)
		return false;
	if (WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | event, session->socket,
						  Min(timeout_ms, WAIT_MAX_MS), PG_WAIT_EXTENSION) & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

static void
lose(SmtpSession *session, SmtpResult *result, SmtpFault fault, const char *words)
{
	session->lost = true;
	set_result(result, fault, words);
}

/* The next answer, which may take so long.  False where none comes, with the fault in *result. */
static bool
read_answer(SmtpSession *session, const char *step, int64 patience_ms, Answer *answer, SmtpResult *result)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), patience_ms);
	char		bytes[2048];
	int			len;

	Assert(!IsTransactionState());
	while ((len = answer_end(session->inbox.data)) == 0)
	{
		size_t		got = 0;
		CURLcode	code = curl_easy_recv(session->transfer->easy, bytes, sizeof(bytes), &got);

		if (code == CURLE_AGAIN)
		{
			if (wait_for_socket(session, WL_SOCKET_READABLE, until))
				continue;
			lose(session, result, SMTP_TIMEOUT, psprintf("the mail server did not answer %s within " INT64_FORMAT " s",
														 step, patience_ms / 1000));
			return false;
		}
		if (code != CURLE_OK || got == 0)
		{
			lose(session, result, SMTP_UNREACHABLE, psprintf("the mail server hung up instead of answering %s", step));
			return false;
		}
		appendBinaryStringInfo(&session->inbox, bytes, got);
		if (session->inbox.len > ANSWER_MAX_BYTES || memchr(bytes, '\0', got) != NULL)
		{
			lose(session, result, SMTP_PROTOCOL, psprintf("the mail server did not answer %s in SMTP", step));
			return false;
		}
	}
	take_answer(pnstrdup(session->inbox.data, len), answer);
	memmove(session->inbox.data, session->inbox.data + len, session->inbox.len - len + 1);
	session->inbox.len -= len;
	if (answer->status < 200 || answer->status > 599)
	{
		lose(session, result, SMTP_PROTOCOL, psprintf("the mail server did not answer %s in SMTP", step));
		return false;
	}
	return true;
}

/* Sends bytes.  False where they can't be sent, with the fault in *result. */
static bool
send_bytes(SmtpSession *session, const char *step, const char *bytes, size_t len, SmtpResult *result)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), roster_request_timeout * 1000L);

	Assert(!IsTransactionState());
	while (len > 0)
	{
		size_t		sent = 0;
		CURLcode	code = curl_easy_send(session->transfer->easy, bytes, len, &sent);

		if (code == CURLE_AGAIN)
		{
			if (wait_for_socket(session, WL_SOCKET_WRITEABLE, until))
				continue;
			lose(session, result, SMTP_TIMEOUT, psprintf("the mail server took no more of %s for %d s", step,
														 roster_request_timeout));
			return false;
		}
		if (code != CURLE_OK)
		{
			lose(session, result, SMTP_UNREACHABLE, psprintf("the mail server hung up during %s", step));
			return false;
		}
		bytes += sent;
		len -= sent;
		until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), roster_request_timeout * 1000L);
	}
	return true;
}

/* A command and its answer.  False where none comes. */
static bool
ask(SmtpSession *session, const char *step, const char *command, Answer *answer, SmtpResult *result)
{
	char	   *line = psprintf("%s\r\n", command);
	bool		sent;

	wipe_with_context(line, strlen(line));
	sent = send_bytes(session, step, line, strlen(line), result);
	explicit_bzero(line, strlen(line));
	return sent && read_answer(session, step, roster_request_timeout * 1000L, answer, result);
}

/* Whether the server's answer to EHLO has the keyword, with that word behind it where one is given. */
static bool
offers(const SmtpSession *session, const char *keyword, const char *word)
{
	const char *line = session->heard.offers;
	int			keyword_len = strlen(keyword);

	for (; *line != '\0'; line += strspn(line, "\r\n"))
	{
		int			len = strcspn(line, "\r\n");
		const char *at = line + Min(len, 4);
		const char *end = line + len;

		line = end;
		if (end - at < keyword_len || pg_strncasecmp(at, keyword, keyword_len) != 0 ||
			(at[keyword_len] != ' ' && at[keyword_len] != '=' && at + keyword_len != end))
			continue;
		if (word == NULL)
			return true;
		for (at += keyword_len; at < end; at += strcspn(at, " \r\n"))
		{
			at += strspn(at, " =");
			if (pg_strncasecmp(at, word, strlen(word)) == 0 && strcspn(at, " \r\n") == strlen(word))
				return true;
		}
	}
	return false;
}

/* The ways to log in that the server offers, in its words; palloc'd. */
static char *
offered_logins(const SmtpSession *session)
{
	const char *line = session->heard.offers;

	for (; *line != '\0'; line += strspn(line, "\r\n"))
	{
		int			len = strcspn(line, "\r\n");

		if (len > 9 && pg_strncasecmp(line + 4, "AUTH", 4) == 0 && (line[8] == ' ' || line[8] == '='))
			return printable(pnstrdup(line + 9, len - 9), CHALLENGE_MAX_BYTES);
		line += len;
	}
	return pstrdup("none");
}

static char *
base64_of(const char *data, int len)
{
	int			size = pg_b64_enc_len(len) + 1;
	char	   *encoded = palloc0(size);

	wipe_with_context(encoded, size);
	encoded[Max(pg_b64_encode((const void *) data, len, (void *) encoded, size - 1), 0)] = '\0';
	return encoded;
}

/* What a challenge says (334, and JSON in base64), behind a space; palloc'd, empty where it says nothing readable. */
static char *
challenge_words(const Answer *challenge)
{
	const char *encoded = challenge->text == NULL ? "" : challenge->text;
	int			size = pg_b64_dec_len(strlen(encoded)) + 1;
	char	   *decoded = palloc0(size);
	int			len = pg_b64_decode(encoded, strlen(encoded), (void *) decoded, size - 1);

	if (len <= 0 || !pg_verify_mbstr(PG_UTF8, decoded, len, true))
		return pstrdup("");
	decoded[len] = '\0';
	return psprintf(" %s", text_without_secrets(printable(decoded, CHALLENGE_MAX_BYTES)));
}

/*
 * Logs in with a token: XOAUTH2, as Google and Microsoft have it, else OAUTHBEARER (RFC 7628).  The token goes behind
 * the server's 334, since a command may be 512 bytes long (RFC 4954).
 */
static void
log_in_by_token(SmtpSession *session, const SmtpLogin *login, SmtpResult *result)
{
	bool		is_xoauth2 = offers(session, "AUTH", "XOAUTH2");
	char	   *response;
	Answer		answer;
	char	   *reason = "";

	if (!is_xoauth2 && !offers(session, "AUTH", "OAUTHBEARER"))
	{
		set_result(result, SMTP_LOGIN, psprintf("the mail server offers no log-in by a token (it offers: %s)",
												offered_logins(session)));
		return;
	}
	if (!ask(session, "AUTH", is_xoauth2 ? "AUTH XOAUTH2" : "AUTH OAUTHBEARER", &answer, result))
		return;
	if (answer.status == CHALLENGE)
	{
		response = is_xoauth2 ? psprintf("user=%s\001auth=Bearer %s\001\001", login->user, login->token) :
			psprintf("n,a=%s,\001auth=Bearer %s\001\001", login->user, login->token);
		wipe_with_context(response, strlen(response));
		if (!ask(session, "AUTH", base64_of(response, strlen(response)), &answer, result))
			return;
	}
	/* A second challenge says why the token is refused, and ends with our answer to it. */
	if (answer.status == CHALLENGE)
	{
		reason = challenge_words(&answer);
		if (!ask(session, "AUTH", is_xoauth2 ? "" : "AQ==", &answer, result))
			return;
	}
	if (answer.status >= 300)
		set_result(result, SMTP_LOGIN, psprintf("the mail server refused the log-in: %s%s", answer.words, reason));
}

/* What it means that libcurl did not connect, or not log in. */
static void
connect_fault(SmtpSession *session, const SmtpLogin *login, bool is_late, SmtpResult *result)
{
	TransferFault fault = is_late ? TRANSFER_TIMEOUT : transfer_fault(session->transfer->result);
	char	   *words = is_late ? psprintf("no connection to the mail server within %d s",
										   roster_request_timeout / CONNECT_SHARE) :
		transfer_fault_text(session->transfer);
	Answer		answer = {0};

	if (session->heard.answer_len > 0)
		take_answer(session->heard.answer, &answer);
	switch (fault)
	{
		case TRANSFER_DNS:
		case TRANSFER_CONNECT:
			set_result(result, SMTP_UNREACHABLE, answer.status < NOT_NOW ? words :
					   psprintf("the mail server hung up: %s", answer.words));
			break;
		case TRANSFER_TLS:
		case TRANSFER_TRUST:
			set_result(result, SMTP_TLS, words);
			break;
		case TRANSFER_TIMEOUT:
			set_result(result, SMTP_TIMEOUT, words);
			break;
		case TRANSFER_LOGIN:
			/* Without an answer to AUTH libcurl found none that both know. */
			set_result(result, SMTP_LOGIN, answer.status < 300 ?
					   psprintf("the mail server offers no log-in by a password (it offers: %s)",
								offered_logins(session)) :
					   psprintf("the mail server refused the log-in: %s", answer.words));
			break;
		default:
			set_result(result, answer.status >= NOT_NOW ? SMTP_SENDER : SMTP_PROTOCOL,
					   answer.status == 0 ? words :
					   psprintf("the mail server refused the connection: %s", answer.words));
			break;
	}
}

/*
 * Connects to the server of minga_roster.smtp_url and logs in.  smtp:// has to
 * offer STARTTLS, but for a loopback host in tests.  NULL with the fault in
 * *result where that does not succeed.  Throws on an interrupt alone.
 */
SmtpSession *
smtp_open(TransferPool *pool, const SmtpLogin *login, SmtpResult *result)
{
	SmtpSession *session = palloc0(sizeof(SmtpSession));
	CURL	   *easy;
	TimestampTz connect_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
															roster_request_timeout * 1000L / CONNECT_SHARE);
	curl_off_t	connected_us = 0;
	bool		is_late = false;

	result->fault = SMTP_OK;
	result->words = NULL;
	session->pool = pool;
	session->transfer = transfer_take(pool);
	initStringInfo(&session->inbox);
	easy = session->transfer->easy;
	transfer_prepare(session->transfer, roster_smtp_url, roster_smtp_ca_file, "smtp,smtps");
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	/* To libcurl all before the first mail is connecting. */
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, roster_request_timeout * 1000L);
	curl_easy_setopt(easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long) roster_request_timeout);
	curl_easy_setopt(easy, CURLOPT_USE_SSL, url_is_insecure(roster_smtp_url) ? (long) CURLUSESSL_TRY
					 : (long) CURLUSESSL_ALL);
	if (login->user != NULL && login->token == NULL)
	{
		curl_easy_setopt(easy, CURLOPT_USERNAME, login->user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, login->password);
	}
	curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, hear);
	curl_easy_setopt(easy, CURLOPT_DEBUGDATA, &session->heard);
	curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);
	transfer_start(pool, session->transfer);
	while (!session->transfer->ended && !is_late)
	{
		transfer_wait(pool, DT_NOEND);
		curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected_us);
		is_late = !session->transfer->ended && connected_us == 0 && GetCurrentTimestamp() >= connect_until;
	}
	if (is_late || session->transfer->result != CURLE_OK)
		connect_fault(session, login, is_late, result);
	else if (curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &session->socket) != CURLE_OK ||
			 session->socket == CURL_SOCKET_BAD)
		set_result(result, SMTP_PROTOCOL, "libcurl has no connection to the mail server");
	else if (login->token != NULL)
		log_in_by_token(session, login, result);
	if (result->fault == SMTP_OK)
		return session;
	transfer_put_back(pool, session->transfer);
	return NULL;
}

/* A mail's lines as DATA wants them: a dot in front doubled, and the line of one dot that ends them. */
static char *
stuffed(const char *content)
{
	StringInfoData data;

	initStringInfo(&data);
	for (const char *line = content; *line != '\0';)
	{
		int			len = strcspn(line, "\n");

		len += line[len] == '\n' ? 1 : 0;
		if (*line == '.')
			appendStringInfoChar(&data, '.');
		appendBinaryStringInfo(&data, line, len);
		line += len;
	}
	appendStringInfoString(&data, ".\r\n");
	return data.data;
}

/*
 * What a refused step of a mail means.  A recipient that is refused for good will never get the mail, and the server's
 * word on the content may change; what it says of the sender, or before it hangs up, it says of every mail.
 */
static void
refuse(SmtpResult *result, SmtpFault for_good, const char *what, const Answer *answer)
{
	if (answer->status == CLOSING || for_good == SMTP_SENDER)
		set_result(result, SMTP_SENDER, psprintf("the mail server refused %s: %s", what, answer->words));
	else if (answer->status < REFUSED)
		set_result(result, SMTP_DEFERRED, psprintf("the mail server put off %s: %s", what, answer->words));
	else
		set_result(result, for_good, psprintf("the mail server refused %s: %s", what, answer->words));
}

static bool
is_ascii(const char *text)
{
	while (*text != '\0' && !IS_HIGHBIT_SET(*text))
		text++;
	return *text == '\0';
}

/* The commands of a mail, up to the server's last answer; false where it ended before. */
static bool
send_envelope(SmtpSession *session, const char *sender, const char *recipient, SmtpResult *result)
{
	bool		is_utf8 = !is_ascii(sender) || !is_ascii(recipient);
	Answer		answer;

	if (is_utf8 && !offers(session, "SMTPUTF8", NULL))
	{
		set_result(result, SMTP_RECIPIENT, "the mail server does not take addresses with letters other than a to z");
		return false;
	}
	if (!ask(session, "MAIL", psprintf("MAIL FROM:<%s>%s", sender, is_utf8 ? " SMTPUTF8" : ""), &answer, result))
		return false;
	if (answer.status >= 300)
	{
		refuse(result, SMTP_SENDER, "the sender", &answer);
		return false;
	}
	if (!ask(session, "RCPT", psprintf("RCPT TO:<%s>", recipient), &answer, result))
		return false;
	if (answer.status >= 300)
	{
		refuse(result, SMTP_RECIPIENT, "the recipient", &answer);
		return false;
	}
	if (!ask(session, "DATA", "DATA", &answer, result))
		return false;
	if (answer.status != 354)
	{
		refuse(result, SMTP_CONTENT, "the mail", &answer);
		return false;
	}
	return true;
}

/*
 * Sends one mail: its headers and body in lines that end with CRLF.  How it went
 * is in *result, with the server's last answer in words.  A session is good for
 * more mail unless the fault is the server's.  Throws on an interrupt alone.
 */
void
smtp_send(SmtpSession *session, const char *sender, const char *recipient, const char *content, SmtpResult *result)
{
	Answer		answer;
	SmtpResult	of_reset = {SMTP_OK, NULL};

	result->fault = SMTP_OK;
	result->words = NULL;
	if (send_envelope(session, sender, recipient, result))
	{
		char	   *data = stuffed(content);

		if (!send_bytes(session, "the mail", data, strlen(data), result) ||
			!read_answer(session, "the mail", LAST_ANSWER_MS, &answer, result))
			return;
		if (answer.status < 300)
			set_result(result, SMTP_OK, answer.words);
		else
			refuse(result, SMTP_CONTENT, "the mail", &answer);
	}
	/* Whatever comes of it: the next MAIL shows what the session is good for. */
	else if (!session->lost && smtp_fault_is_of_mail(result->fault))
		(void) ask(session, "RSET", "RSET", &answer, &of_reset);
}

/* Takes leave, without waiting for an answer, and gives the connection back. */
void
smtp_close(SmtpSession *session)
{
	size_t		sent;

	if (!session->lost)
		(void) curl_easy_send(session->transfer->easy, "QUIT\r\n", 6, &sent);
	transfer_put_back(session->pool, session->transfer);
}
