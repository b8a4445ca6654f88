/*
 * url.c
 *	  URLs taken apart by libcurl, as it reads them when it sends a request, and
 *	  values encoded for them.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/error.h"
#include "base/settings.h"
#include "net/curl_compat.h"
#include "net/url.h"

static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("libcurl could not take a URL apart.")));
}

static char *
url_part(CURLU *url, CURLUPart part, unsigned int flags)
{
	char	   *text = NULL;
	char	   *copy;

	if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
		return NULL;
	copy = pstrdup(text);
	curl_free(text);
	return copy;
}

/* What is wrong with a URL, static: libcurl's own words differ between its versions. */
static const char *
why_unreadable(CURLUcode result)
{
	if (result == CURLUE_OK)
		return NULL;
	if (result == CURLUE_NO_HOST)
		return "it has no host";
	if (result == CURLUE_BAD_PORT_NUMBER)
		return "its port is not a number from 0 to 65535";
	if (result == CURLUE_MALFORMED_INPUT)
		return "it is malformed";
	if (result == CURLUE_BAD_HOSTNAME)
		return "its host has a character that is not allowed";
	if (result == CURLUE_BAD_IPV6)
		return "its host is an IPv6 address that is malformed or has a zone";
	return "a part of it is malformed";
}

/*
 * Takes a URL apart, an absent scheme being https.  False, with the reason in
 * *why (static), for one that is none.
 */
bool
url_parse(const char *url, UrlParts *parts, const char **why)
{
	CURLU	   *handle = curl_url();
	CURLUcode	result;

	if (handle == NULL)
		out_of_memory();
	result = curl_url_set(handle, CURLUPART_URL, url,
						  CURLU_DEFAULT_SCHEME | CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE);
	memset(parts, 0, sizeof(*parts));
	if (result == CURLUE_OK)
	{
		parts->scheme = url_part(handle, CURLUPART_SCHEME, 0);
		parts->user = url_part(handle, CURLUPART_USER, 0);
		if (parts->user == NULL && url_part(handle, CURLUPART_PASSWORD, 0) != NULL)
			parts->user = pstrdup("");
		parts->host = url_part(handle, CURLUPART_HOST, 0);
		parts->port = url_part(handle, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
		parts->path = url_part(handle, CURLUPART_PATH, 0);
		parts->query = url_part(handle, CURLUPART_QUERY, 0);
		if (parts->host == NULL || parts->host[0] == '\0')
			result = CURLUE_NO_HOST;
		else if (url_part(handle, CURLUPART_ZONEID, 0) != NULL)
			result = CURLUE_BAD_IPV6;
	}
	curl_url_cleanup(handle);
	*why = why_unreadable(result);
	if (result != CURLUE_OK)
		return false;
	for (char *c = parts->host; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	return true;
}

/* A value percent-encoded for a path segment, a query or a form; palloc'd. */
char *
url_encode(const char *value)
{
	char	   *encoded = curl_easy_escape(NULL, value, 0);
	char	   *copy;

	if (encoded == NULL)
		out_of_memory();
	copy = pstrdup(encoded);
	explicit_bzero(encoded, strlen(encoded));	/* it may be a secret */
	curl_free(encoded);
	return copy;
}

/* A percent-encoded segment as it reads, palloc'd; NULL where that is no text. */
char *
url_decode(const char *value)
{
	int			len = 0;
	char	   *decoded = curl_easy_unescape(NULL, value, 0, &len);
	char	   *copy;

	if (decoded == NULL)
		out_of_memory();
	copy = pnstrdup(decoded, len);
	curl_free(decoded);
	return strlen(copy) == len && pg_verify_mbstr(PG_UTF8, copy, len, true) ? copy : NULL;
}

bool
url_is_loopback(const UrlParts *parts)
{
	return strcmp(parts->host, "127.0.0.1") == 0 || strcmp(parts->host, "[::1]") == 0 ||
		strcmp(parts->host, "localhost") == 0;
}

/* Whether the setting for tests covers this URL's host. */
bool
url_is_insecure(const char *url)
{
	UrlParts	parts;
	const char *why;

	return roster_insecure_loopback && url_parse(url, &parts, &why) && url_is_loopback(&parts);
}

/* The port that a connection is made to. */
int
url_port(const UrlParts *parts)
{
	if (parts->port != NULL)
		return atoi(parts->port);
	return strcmp(parts->scheme, "http") == 0 ? 80 : 443;
}

/*
 * What a secret is given for: "scheme://host:port", in lower case and with the
 * port written out where it is the scheme's own.  palloc'd; NULL for what is no
 * URL of http or https.
 */
char *
url_origin(const char *url)
{
	UrlParts	parts;
	const char *why;

	if (!url_parse(url, &parts, &why) ||
		(strcmp(parts.scheme, "https") != 0 && strcmp(parts.scheme, "http") != 0))
		return NULL;
	return psprintf("%s://%s:%d", parts.scheme, parts.host, url_port(&parts));
}
