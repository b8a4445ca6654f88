/*
 * message.c
 *	  A mail as it is sent (RFC 5322, MIME): headers, the plain text first and the
 *	  HTML that is preferred last.
 *
 * What it must survive: a value with a line break, which would end a header, and
 * any text: lines of a mail are ASCII and at most 76 characters.
 */
#include "postgres.h"

#include <time.h>

#include "common/base64.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "run/message.h"

/* With "Subject: " a line of 78 characters at most (RFC 5322), and of 76 with an encoded word (RFC 2047). */
#define PLAIN_HEADER_MAX 69
#define ENCODED_WORD_BYTES 39
#define QUOTED_LINE_MAX 76		/* with the "=" of a line that goes on */

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
char *
message_address(const char *mailbox)
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

/* Whether the headers can be made: a line break in a value would end it. */
bool
message_is_fit(const Message *message)
{
	return strpbrk(message->to, "\r\n") == NULL && strpbrk(message->from, "\r\n") == NULL &&
		strpbrk(message->subject, "\r\n") == NULL;
}

/*
 * A text as quoted-printable (RFC 2045): its lines end with CRLF, and long ones go
 * on behind an "=".  What ends the last line belongs to the boundary.
 */
static void
append_quoted(StringInfo mail, const char *text)
{
	int			column = 0;

	for (const char *c = text; *c != '\0'; c++)
	{
		bool		ends_line = c[1] == '\0' || c[1] == '\n' || (c[1] == '\r' && c[2] == '\n');
		bool		is_plain = (*c > ' ' && *c <= '~' && *c != '=') || ((*c == ' ' || *c == '\t') && !ends_line);
		int			width = is_plain ? 1 : 3;

		if (*c == '\n' || (*c == '\r' && c[1] == '\n'))
		{
			c += *c == '\r' ? 1 : 0;
			appendStringInfoString(mail, "\r\n");
			column = 0;
			continue;
		}
		if (column + width > QUOTED_LINE_MAX - 1)
		{
			appendStringInfoString(mail, "=\r\n");
			column = 0;
		}
		if (is_plain)
			appendStringInfoChar(mail, *c);
		else
			appendStringInfo(mail, "=%02X", (unsigned char) *c);
		column += width;
	}
}

/*
 * The whole mail, in lines that end with CRLF; palloc'd.  Its boundary holds "=_",
 * which quoted-printable never makes.
 */
char *
message_compose(const Message *message)
{
	const char *const parts[][2] = {{message->text, "text/plain"}, {message->html, "text/html"}};
	const char *boundary = "=_minga-roster_=";
	StringInfoData mail;

	initStringInfo(&mail);
	appendStringInfo(&mail, "Date: %s\r\n", mail_date());
	appendStringInfo(&mail, "From: %s\r\n", encode_mailbox(message->from));
	appendStringInfo(&mail, "To: %s\r\n", message->to);
	appendStringInfo(&mail, "Subject: %s\r\n", encode_header(message->subject));
	appendStringInfo(&mail, "Message-ID: %s\r\n", message->message_id);
	appendStringInfoString(&mail, "Auto-Submitted: auto-generated\r\n");
	appendStringInfoString(&mail, "MIME-Version: 1.0\r\n");
	appendStringInfo(&mail, "Content-Type: multipart/alternative; boundary=\"%s\"\r\n", boundary);
	for (int i = 0; i < lengthof(parts); i++)
	{
		appendStringInfo(&mail, "\r\n--%s\r\nContent-Type: %s; charset=utf-8\r\n", boundary, parts[i][1]);
		appendStringInfoString(&mail, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
		append_quoted(&mail, parts[i][0]);
	}
	appendStringInfo(&mail, "\r\n--%s--\r\n", boundary);
	return mail.data;
}
