/*
 * smtp.h
 *	  Mail by libcurl.
 */
#ifndef MINGA_ROSTER_SMTP_H
#define MINGA_ROSTER_SMTP_H

#include "postgres.h"

#include "net/transfer.h"

typedef struct MailMessage
{
	const char *to;
	const char *from;			/* as the header has it: an address, or Name <address> */
	const char *sender;			/* the address in it */
	const char *subject;		/* encoded for a header where it is not ASCII */
	const char *date;			/* RFC 5322 */
	const char *message_id;
	const char *text;
	const char *html;
} MailMessage;

extern TransferFault smtp_perform(TransferPool *pool, const MailMessage *message, const char *user,
								  const char *password, char **fault_text);

#endif							/* MINGA_ROSTER_SMTP_H */
