/*
 * http.c
 *	  HTTP requests by libcurl.
 *
 * What it must survive: a body without an end, which is cut off at the request's
 * max_bytes; an answer that inflates without an end, for which the same holds;
 * headers without an end; a redirect, which is reported and never followed.
 *
 * Who may connect a SIS may not look around from the database server by it: a
 * socket goes to public addresses alone unless minga_roster.allowed_hosts says
 * otherwise, whatever the URL's host looks like and its name leads to; and all
 * that fails before TLS is secured is one fault, so that a port that is closed
 * can't be told from one that speaks something else.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include <arpa/inet.h>

#include "base/error.h"
#include "base/settings.h"
#include "base/text.h"
#include "net/address.h"
#include "net/http.h"
#include "net/transfer.h"
#include "net/transfer_internal.h"
#include "net/url.h"

#define RECEIVE_BUFFER (512 * 1024L)
#define RETRY_AFTER_MAX_S (24 * 3600)
#define HEADERS_MAX_BYTES (256 * 1024)

/* --- called by libcurl: must not ereport, must not palloc --- */

/* The socket of a connection that is about to be made: here, and not before, it is known where to. */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	Transfer   *transfer = arg;

	transfer->opened = true;
	if (transfer->public_only && (address->socktype != SOCK_STREAM || !address_is_public(&address->addr)))
	{
		transfer->refused = true;
		if (address->family == AF_INET)
			inet_ntop(AF_INET, &((struct sockaddr_in *) &address->addr)->sin_addr,
					  transfer->refused_address, sizeof(transfer->refused_address));
		else if (address->family == AF_INET6)
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *) &address->addr)->sin6_addr,
					  transfer->refused_address, sizeof(transfer->refused_address));
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Whether a line is of that header, and the bounds of its value. */
static bool
header_value(const char *line, size_t len, const char *name, const char **value, size_t *value_len)
{
	size_t		start = strlen(name);

	if (len <= start || line[start] != ':' || pg_strncasecmp(line, name, start) != 0)
		return false;
	start++;
	while (start < len && (line[start] == ' ' || line[start] == '\t'))
		start++;
	*value = line + start;
	*value_len = len - start;
	return true;
}

/* Notes the last value of a header; one that is too long is as none. */
static void
note_value(char *kept, const char *value, size_t len)
{
	if (len > HEADER_VALUE_MAX)
		len = 0;
	memcpy(kept, value, len);
	kept[len] = '\0';
}

/* Notes a line of headers: of the last answer, since interim ones and those of a proxy come before it. */
static void
note_header(SeenHeaders *seen, const char *line, size_t len)
{
	const char *value;
	size_t		value_len;

	while (len > 0 && strchr("\r\n \t", line[len - 1]) != NULL)
		len--;
	if (len == 0)
		seen->ended = true;
	else if (len > 5 && strncmp(line, "HTTP/", 5) == 0)
		memset(seen, 0, sizeof(*seen));
	else if (seen->ended)
		return;
	else if (header_value(line, len, "Retry-After", &value, &value_len))
		seen->retry_after = true;
	else if (header_value(line, len, "Date", &value, &value_len))
		note_value(seen->date, value, value_len);
	else if (header_value(line, len, "X-Total-Count", &value, &value_len))
		note_value(seen->total_count, value, value_len);
	else if (header_value(line, len, "x-perm-rev", &value, &value_len))
		note_value(seen->permission_revision, value, value_len);
}

static size_t
receive_header(char *data, size_t size, size_t count, void *arg)
{
	Transfer   *transfer = arg;

	note_header(&transfer->seen, data, size * count);
	transfer->header_bytes += size * count;
	return transfer->header_bytes > HEADERS_MAX_BYTES ? 0 : size * count;
}

static size_t
receive_body(char *data, size_t size, size_t count, void *arg)
{
	Body	   *body = arg;
	size_t		len = size * count;

	if (body->len + len > body->max_bytes)
	{
		body->too_large = true;
		return 0;
	}
	if (body->len + len + 1 > body->allocated)
	{
		Size		wanted = body->allocated == 0 ? 64 * 1024 : body->allocated * 2;
		curl_off_t	announced = -1;
		char	   *larger;

		if (!body->sized)
		{
			body->sized = true;
			curl_easy_getinfo(body->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
			if (announced > (curl_off_t) body->len && (Size) announced <= body->max_bytes)
				wanted = (Size) announced + 1;
		}
		while (wanted < body->len + len + 1)
			wanted *= 2;
		larger = realloc(body->data, wanted);
		if (larger == NULL)
			return 0;
		body->data = larger;
		body->allocated = wanted;
	}
	memcpy(body->data + body->len, data, len);
	body->len += len;
	body->data[body->len] = '\0';
	return len;
}

/* --- end of what libcurl calls --- */

static void
response_headers(CURL *easy, const SeenHeaders *seen, HttpResponse *response)
{
	char	   *text = NULL;
	char	   *end;
	long		status = 0;
	curl_off_t	retry_after = 0;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	response->status = (int) status;
	status = 0;
	curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
	response->proxy_status = (int) status;
	curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &text);
	response->content_type = text == NULL ? NULL : pstrdup(text);
	text = NULL;

	curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &text);
	response->location = text == NULL ? NULL : pstrdup(text);

	/* Seconds or a date, made seconds by libcurl; 0 where there is none. */
	curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after);
	if (seen->retry_after)
		response->retry_after_ms = (int) Min(retry_after, RETRY_AFTER_MAX_S) * 1000;
	if (seen->date[0] != '\0')
		response->server_time = curl_getdate(seen->date, NULL);
	if (seen->total_count[0] != '\0')
	{
		errno = 0;
		response->total_count = strtoll(seen->total_count, &end, 10);
		if (errno != 0 || *end != '\0' || response->total_count < 0)
			response->total_count = -1;
	}
	if (seen->permission_revision[0] != '\0')
		response->permission_revision = pstrdup(seen->permission_revision);
}

static void
response_times(CURL *easy, HttpResponse *response)
{
	curl_off_t	microseconds = 0;

	curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &microseconds);
	response->resolved_us = microseconds;
	microseconds = 0;
	curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &microseconds);
	response->connected_us = microseconds;
	microseconds = 0;
	curl_easy_getinfo(easy, CURLINFO_APPCONNECT_TIME_T, &microseconds);
	response->secured_us = microseconds;
	microseconds = 0;
	curl_easy_getinfo(easy, CURLINFO_TOTAL_TIME_T, &microseconds);
	response->elapsed_us = microseconds;
}

/* The encodings that are decoded in memory that is small, of those that this libcurl knows. */
static const char *
accepted_encodings(void)
{
	int			features = curl_version_info(CURLVERSION_NOW)->features;

	if ((features & CURL_VERSION_LIBZ) == 0)
		return "identity";
	return (features & CURL_VERSION_BROTLI) ? "gzip, br" : "gzip";
}

/* Whether a transfer may go to the URL's host; notes by which addresses. */
static bool
may_start(Transfer *transfer, const char *url)
{
	UrlParts	parts;
	const char *why;
	int			port;

	transfer->opened = false;
	transfer->refused = false;
	transfer->refused_address[0] = '\0';
	transfer->header_bytes = 0;
	memset(&transfer->seen, 0, sizeof(transfer->seen));
	if (!url_parse(url, &parts, &why))
	{
		/* libcurl would take some of these, such as a zone of IPv6 */
		transfer->refused = true;
		transfer->result = CURLE_URL_MALFORMAT;
		return false;
	}
	port = url_port(&parts);
	transfer->refused = host_refusal(parts.host, port) != NULL;
	/* To a proxy the superuser has chosen the way, and where that leads is the proxy's affair. */
	transfer->public_only = roster_proxy[0] == '\0' && !host_is_allowed(parts.host, port);
	transfer->result = CURLE_COULDNT_CONNECT;
	return !transfer->refused;
}

/*
 * Starts a request, which transfer_wait carries on; its form has to live until
 * http_end.
 */
Transfer *
http_begin(TransferPool *pool, const HttpRequest *request)
{
	Transfer   *transfer = transfer_take(pool);
	CURL	   *easy = transfer->easy;

	transfer->body.max_bytes = request->max_bytes;
	transfer->body.easy = easy;
	if (pool->nspares > 0)
	{
		transfer->body.data = pool->spares[--pool->nspares].data;
		transfer->body.allocated = pool->spares[pool->nspares].allocated;
	}
	transfer_prepare(transfer, request->url, request->ca_file == NULL ? roster_ca_file : request->ca_file,
					 url_is_insecure(request->url) ? "http,https" : "https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, receive_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer->body);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, accepted_encodings());
	curl_easy_setopt(easy, CURLOPT_COOKIEFILE, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "minga_roster");
	if (roster_proxy[0] != '\0')
		curl_easy_setopt(easy, CURLOPT_PROXY, roster_proxy);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->alone ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, request->alone ? 1L : 0L);
	if (request->form != NULL)
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->form);
	if (request->basic_user != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
		curl_easy_setopt(easy, CURLOPT_USERNAME, request->basic_user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, request->basic_password);
	}
	transfer->headers = curl_slist_append(NULL, "Accept: application/json");
	if (request->authorization != NULL)
	{
		char	   *authorization = psprintf("Authorization: %s", request->authorization);

		transfer->headers = curl_slist_append(transfer->headers, authorization);
		explicit_bzero(authorization, strlen(authorization));
		pfree(authorization);
	}
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	if (may_start(transfer, request->url))
		transfer_start(pool, transfer);
	else
		transfer->ended = true;
	return transfer;
}

/*
 * What a request came to.  Before TLS is secured it is one of a few things, of
 * which none says what listens at the port.
 */
static TransferFault
http_fault(const Transfer *transfer, const HttpResponse *response)
{
	char	   *scheme = NULL;

	if (transfer->body.too_large)
		return TRANSFER_TOO_LARGE;
	if (transfer->refused && transfer->result != CURLE_OK)
		return TRANSFER_FORBIDDEN;
	switch (transfer->result)
	{
		case CURLE_OK:
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
			return transfer_fault(transfer->result);
		case CURLE_COULDNT_RESOLVE_PROXY:
			return TRANSFER_PROXY;
		default:
			curl_easy_getinfo(transfer->easy, CURLINFO_SCHEME, &scheme);
			/* A connection that was there already is secured. */
			if (transfer->opened && response->secured_us == 0 &&
				!(scheme != NULL && pg_strcasecmp(scheme, "http") == 0 && response->connected_us > 0))
				return roster_proxy[0] == '\0' || response->proxy_status == 200 ? TRANSFER_UNREACHABLE :
					response->proxy_status == 0 && transfer->result == CURLE_COULDNT_CONNECT ? TRANSFER_PROXY
					: TRANSFER_PROXY_REFUSED;
			return transfer_fault(transfer->result);
	}
}

/* What the log alone may tell of it: what listens where, or what a proxy has answered. */
static bool
is_for_the_log(TransferFault fault)
{
	return fault == TRANSFER_UNREACHABLE || fault == TRANSFER_FORBIDDEN || fault == TRANSFER_PROXY ||
		fault == TRANSFER_PROXY_REFUSED;
}

/* Tells the DBA what the answer to others does not say. */
static void
log_fault(const Transfer *transfer, TransferFault fault)
{
	char	   *url = NULL;
	char	   *origin;

	if (!is_for_the_log(fault))
		return;
	curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &url);
	origin = url == NULL ? NULL : url_origin(url);
	origin = printable(origin == NULL ? "the SIS" : origin, CURL_ERROR_SIZE);
	if (fault != TRANSFER_FORBIDDEN)
		ereport(LOG,
				(fault == TRANSFER_UNREACHABLE ? errmsg("%s could not be reached", origin) :
				 errmsg("%s could not be reached through the proxy of minga_roster.proxy", origin),
				 errdetail("libcurl says: %s.", transfer_fault_text(transfer))));
	else if (transfer->refused_address[0] != '\0')
		ereport(LOG,
				(errmsg("no connection was made to %s", origin),
				 errdetail("It leads to %s, which is not a public address, and minga_roster.allowed_hosts does not "
						   "name it.",
						   transfer->refused_address)));
}

/*
 * The response of a request that has ended; its transfer goes back to the pool.
 * What went wrong on the way is a fault in the response and no error.  The body
 * is malloc'd, for http_release; the other texts are palloc'd.
 */
void
http_end(TransferPool *pool, Transfer *transfer, HttpResponse *response)
{
	memset(response, 0, sizeof(*response));
	response->total_count = -1;
	response->retry_after_ms = -1;
	response->server_time = -1;
	response_headers(transfer->easy, &transfer->seen, response);
	response_times(transfer->easy, response);
	response->fault = http_fault(transfer, response);
	log_fault(transfer, response->fault);
	if (response->fault != TRANSFER_OK && !is_for_the_log(response->fault))
		response->fault_text = transfer_fault_text(transfer);
	if (transfer->body.len > 0)
	{
		response->body = transfer->body.data;
		response->len = transfer->body.len;
		response->allocated = transfer->body.allocated;
		response->pool = pool;
		transfer->body.data = NULL;
	}
	transfer_put_back(pool, transfer);
}

/*
 * Gives the body back to its pool, which has to be there still; the rest of a response goes with its memory
 * context.
 */
void
http_release(HttpResponse *response)
{
	if (response->body != NULL)
		transfer_spare_body(response->pool, response->body, response->allocated);
	response->body = NULL;
	response->len = 0;
}
