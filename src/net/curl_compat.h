/*
 * curl_compat.h
 *	  libcurl, and what differs between its versions from 7.76 on; nothing else.
 */
#ifndef MINGA_ROSTER_CURL_COMPAT_H
#define MINGA_ROSTER_CURL_COMPAT_H

#include <string.h>

#include <curl/curl.h>

#if LIBCURL_VERSION_NUM < 0x074c00
#error "minga_roster needs libcurl 7.76.0 or later"
#endif

/* Errors of the URL parser that have codes of their own since 7.81. */
#if LIBCURL_VERSION_NUM < 0x075100
#define CURLUE_BAD_HOSTNAME CURLUE_MALFORMED_INPUT
#define CURLUE_BAD_IPV6 CURLUE_MALFORMED_INPUT
#endif

/* Which schemes a transfer may use, with commas between them; by their names since 7.85. */
static inline void
compat_set_protocols(CURL *easy, const char *protocols)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocols);
#else
	static const struct
	{
		const char *name;
		long		bit;
	}			known[] = {
		{"http", CURLPROTO_HTTP}, {"https", CURLPROTO_HTTPS}, {"smtp", CURLPROTO_SMTP}, {"smtps", CURLPROTO_SMTPS}
	};
	long		bits = 0;

	for (size_t len = strcspn(protocols, ","); len > 0; len = strcspn(protocols, ","))
	{
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		{
			if (strlen(known[i].name) == len && strncmp(known[i].name, protocols, len) == 0)
				bits |= known[i].bit;
		}
		protocols += len;
		if (*protocols == ',')
			protocols++;
	}
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, bits);
#endif
}

/*
 * Lets the end of a transfer leave a resolver that hangs to its thread; since 7.87.
 * Before, a run that is canceled while a name is looked up waits for the resolver.
 */
static inline void
compat_leave_resolver(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075700
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

#endif							/* MINGA_ROSTER_CURL_COMPAT_H */
