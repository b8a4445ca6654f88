/*
 * url.h
 *	  URLs taken apart, and values for them.
 */
#ifndef MINGA_ROSTER_URL_H
#define MINGA_ROSTER_URL_H

#include "postgres.h"

/* A URL taken apart; everything palloc'd, NULL where absent, host and scheme in lower case. */
typedef struct UrlParts
{
	char	   *scheme;
	char	   *user;
	char	   *host;
	char	   *port;			/* NULL where none was given or it is the scheme's default */
	char	   *path;			/* starts with "/"; percent-decoding not applied */
	char	   *query;
} UrlParts;

extern bool url_parse(const char *url, UrlParts *parts, const char **why);
extern char *url_encode(const char *value);
extern char *url_decode(const char *value);
extern bool url_is_loopback(const UrlParts *parts);
extern bool url_is_insecure(const char *url);
extern int	url_port(const UrlParts *parts);
extern char *url_origin(const char *url);

#endif							/* MINGA_ROSTER_URL_H */
