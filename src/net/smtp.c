/*
 * smtp.c
 *	  Mail by libcurl: SMTP with STARTTLS and AUTH, the text and HTML parts by its
 *	  MIME.
 */
#include "postgres.h"

#include "base/error.h"
#include "base/settings.h"
#include "net/smtp.h"
#include "net/transfer.h"
#include "net/transfer_internal.h"
#include "net/url.h"

/* Whether each line break of a header's value is a fold: one that nothing but the rest of the value can follow. */
static bool
is_folded(const char *value)
{
	while ((value = strpbrk(value, "\r\n")) != NULL)
	{
		if (strncmp(value, "\r\n ", 3) != 0 || value[3] <= ' ')
			return false;
		value += 3;
	}
	return true;
}

/* A header of the mail; a line break that is no fold would let a value end the headers. */
static struct curl_slist *
mail_header(struct curl_slist *headers, const char *name, const char *value)
{
	if (!is_folded(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid mail header \"%s\"", name),
				 errdetail("Its value contains a line break.")));
	return curl_slist_append(headers, psprintf("%s: %s", name, value));
}

/* The text with CRLF at the end of each line; quoted-printable would encode any other LF as a character. */
static char *
with_crlf(const char *body)
{
	StringInfoData lines;

	initStringInfo(&lines);
	for (const char *c = body; *c != '\0'; c++)
	{
		if (*c == '\n' && (c == body || c[-1] != '\r'))
			appendStringInfoChar(&lines, '\r');
		appendStringInfoChar(&lines, *c);
	}
	return lines.data;
}

/*
 * The parts of the mail, the plain text first, the HTML that is preferred last.
 * They are the mail's own parts: libcurl takes the type of the whole from the
 * header Content-Type, and adds its boundary.
 */
static curl_mime *
mail_body(CURL *easy, const MailMessage *message)
{
	const char *const parts[][2] = {
		{message->text, "text/plain; charset=utf-8"},
		{message->html, "text/html; charset=utf-8"},
	};
	curl_mime  *mail = curl_mime_init(easy);

	for (int i = 0; i < lengthof(parts); i++)
	{
		curl_mimepart *part = curl_mime_addpart(mail);

		curl_mime_data(part, with_crlf(parts[i][0]), CURL_ZERO_TERMINATED);
		curl_mime_type(part, parts[i][1]);
		curl_mime_encoder(part, "quoted-printable");
	}
	return mail;
}

/* What the server answered to the recipient. */
typedef struct RecipientAnswer
{
	bool		is_next;		/* the latest command names the recipient */
	bool		is_refusal;		/* for good: a status of 5xx */
} RecipientAnswer;

/* Called by libcurl with each command and each line of an answer, so it must not raise. */
static int
note_answer(CURL *easy, curl_infotype type, char *data, size_t size, void *arg)
{
	RecipientAnswer *answer = arg;

	if (type == CURLINFO_HEADER_OUT)
		answer->is_next = size >= strlen("RCPT TO:") && pg_strncasecmp(data, "RCPT TO:", strlen("RCPT TO:")) == 0;
	else if (type == CURLINFO_HEADER_IN && answer->is_next && size > 0)
		answer->is_refusal = (data[0] == '5');
	return 0;
}

/*
 * Sends one mail by the server of minga_roster.smtp_url.  smtp:// has to offer
 * STARTTLS, but for a loopback host in tests.  What goes wrong is a fault, with
 * libcurl's words and the server's status in *fault_text (palloc'd); throws on
 * an interrupt and on a header with a line break.
 */
TransferFault
smtp_perform(TransferPool *pool, const MailMessage *message, const char *user, const char *password, char **fault_text)
{
	Transfer   *transfer = transfer_take(pool);
	CURL	   *easy = transfer->easy;
	struct curl_slist *volatile headers = NULL;
	struct curl_slist *volatile recipients = NULL;
	curl_mime  *volatile mail = NULL;
	volatile TransferFault fault = TRANSFER_OK;
	RecipientAnswer answer = {false, false};
	long		status = 0;

	transfer_prepare(transfer, roster_smtp_url, roster_smtp_ca_file, "smtp,smtps");
	curl_easy_setopt(easy, CURLOPT_USE_SSL, url_is_insecure(roster_smtp_url) ? (long) CURLUSESSL_TRY
					 : (long) CURLUSESSL_ALL);
	if (user != NULL && user[0] != '\0')
	{
		curl_easy_setopt(easy, CURLOPT_USERNAME, user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, password == NULL ? "" : password);
	}
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM, message->sender);
	curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, note_answer);
	curl_easy_setopt(easy, CURLOPT_DEBUGDATA, &answer);
	curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);

	PG_TRY();
	{
		headers = mail_header(headers, "Date", message->date);
		headers = mail_header(headers, "From", message->from);
		headers = mail_header(headers, "To", message->to);
		headers = mail_header(headers, "Subject", message->subject);
		headers = mail_header(headers, "Message-ID", message->message_id);
		headers = mail_header(headers, "Auto-Submitted", "auto-generated");
		headers = mail_header(headers, "Content-Type", "multipart/alternative");
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		recipients = curl_slist_append(NULL, message->to);
		curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, recipients);
		mail = mail_body(easy, message);
		curl_easy_setopt(easy, CURLOPT_MIMEPOST, mail);
		transfer_start(pool, transfer);
		while (!transfer->ended)
			transfer_wait(pool, DT_NOEND);
		if (transfer->result != CURLE_OK)
		{
			curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);

			/*
			 * A recipient that is refused is a fault of its own, as the mail will never arrive.  The DBA may settle
			 * any other refusal: the mail waits.
			 */
			fault = answer.is_refusal ? TRANSFER_REFUSED : transfer_fault(transfer->result);
			*fault_text = status == 0 ? transfer_fault_text(transfer) :
				psprintf("%s (the mail server's last answer was %ld)", transfer_fault_text(transfer), status);
		}
	}
	PG_FINALLY();
	{
		transfer_put_back(pool, transfer);
		curl_mime_free(mail);
		curl_slist_free_all(headers);
		curl_slist_free_all(recipients);
	}
	PG_END_TRY();
	return fault;
}
