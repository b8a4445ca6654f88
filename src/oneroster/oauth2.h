/*
 * oauth2.h
 *	  What authorizes a request: tokens, and which of their kinds.
 */
#ifndef MINGA_ROSTER_OAUTH2_H
#define MINGA_ROSTER_OAUTH2_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "base/connection.h"
#include "net/http.h"
#include "oneroster/fault.h"
#include "oneroster/request.h"

/* How client credentials go to a token endpoint. */
typedef enum CredentialsForm
{
	CREDENTIALS_BASIC,			/* HTTP Basic, as they are */
	CREDENTIALS_BODY,			/* in the form */
	CREDENTIALS_ENCODED_BASIC	/* HTTP Basic, form-encoded first (RFC 6749, 2.3.1) */
} CredentialsForm;

/* Lives as long as the memory context that it names. */
typedef struct Authorization
{
	MemoryContext context;
	RosterConnection *connection;
	Requester  *requester;		/* asks for tokens */
	char	   *token;			/* what authorizes or signs; NULL: not asked for yet */
	TimestampTz token_expires_at;	/* DT_NOEND for a client secret */
	int			token_lifetime; /* seconds, as given with the latest token; 0: not said */
	CredentialsForm credentials_sent;	/* how they got the last token */
} Authorization;

extern void authorize_early(Authorization *authorization);
extern RosterFault *authorize(Authorization *authorization, bool renew);
extern char *authorization_header(Authorization *authorization, const char *method, const char *url);
extern RosterFault *authorization_refusal(Authorization *authorization, const HttpResponse *response,
										  const char *found);

#endif							/* MINGA_ROSTER_OAUTH2_H */
