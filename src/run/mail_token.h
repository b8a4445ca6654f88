/*
 * mail_token.h
 *	  Tokens for a mail server that takes OAuth 2.0 alone.
 */
#ifndef MINGA_ROSTER_MAIL_TOKEN_H
#define MINGA_ROSTER_MAIL_TOKEN_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "net/transfer.h"

typedef struct MailToken
{
	char	   *token;			/* NULL: none */
	TimestampTz good_until;
} MailToken;

extern char *mail_token_fetch(TransferPool *pool, const char *secret, MailToken *token, bool *is_setting);

#endif							/* MINGA_ROSTER_MAIL_TOKEN_H */
