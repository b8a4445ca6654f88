/*
 * smtp.h
 *	  Mail: one session with the mail server, one mail after the other.
 */
#ifndef MINGA_ROSTER_SMTP_H
#define MINGA_ROSTER_SMTP_H

#include "postgres.h"

#include "net/transfer.h"

/* What went wrong; those from SMTP_RECIPIENT on are about the mail alone, the others about the server. */
typedef enum SmtpFault
{
	SMTP_OK,
	SMTP_UNREACHABLE,			/* name, network, or the server hung up */
	SMTP_TIMEOUT,
	SMTP_TLS,
	SMTP_LOGIN,					/* refused, or no way to log in that both know */
	SMTP_SENDER,				/* the server takes nothing, or nothing from this sender */
	SMTP_PROTOCOL,				/* no SMTP */
	SMTP_RECIPIENT,				/* refused for good */
	SMTP_DEFERRED,				/* not now */
	SMTP_CONTENT				/* the server does not take this mail */
} SmtpFault;

/* How a mail, or the log-in, went. */
typedef struct SmtpResult
{
	SmtpFault	fault;
	char	   *words;			/* the server's, or what went wrong: without addresses and secrets; palloc'd */
} SmtpResult;

/* As whom: by a password, or by a token where that is not NULL; as no one where user is NULL. */
typedef struct SmtpLogin
{
	const char *user;
	const char *password;
	const char *token;
} SmtpLogin;

typedef struct SmtpSession SmtpSession;

extern bool smtp_fault_is_of_mail(SmtpFault fault);
extern SmtpSession *smtp_open(TransferPool *pool, const SmtpLogin *login, SmtpResult *result);
extern void smtp_send(SmtpSession *session, const char *sender, const char *recipient, const char *content,
					  SmtpResult *result);
extern void smtp_close(SmtpSession *session);

#endif							/* MINGA_ROSTER_SMTP_H */
