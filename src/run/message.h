/*
 * message.h
 *	  A mail as it is sent: headers, and a text in two forms.
 */
#ifndef MINGA_ROSTER_MESSAGE_H
#define MINGA_ROSTER_MESSAGE_H

#include "postgres.h"

typedef struct Message
{
	const char *to;
	const char *from;			/* an address, or Name <address> */
	const char *subject;
	const char *message_id;		/* with its brackets */
	const char *text;
	const char *html;
} Message;

extern char *message_address(const char *mailbox);
extern bool message_is_fit(const Message *message);
extern char *message_compose(const Message *message);

#endif							/* MINGA_ROSTER_MESSAGE_H */
