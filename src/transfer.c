/*
 * transfer.c
 *	  Everything that libcurl does for us; no other file sees its headers.
 *
 * What it must survive:
 *	- a cancel or a shutdown in the middle of a transfer: we wait on our latch and
 *	  on libcurl's sockets in one WaitEventSet, so both act at once;
 *	- an error that is raised above us: handles are freed by a memory context
 *	  callback, which is armed before they are made;
 *	- libcurl's resolver thread: signals are blocked whenever libcurl runs, so it
 *	  inherits a mask under which none of the server's handlers runs in it;
 *	- a body without an end: it is cut off at the request's max_bytes.
 *
 * Callbacks of libcurl must not raise an error or use palloc: a longjmp through
 * libcurl's frames would leave it broken.  They use malloc and say no by their
 * return value.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <signal.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "access/xact.h"
#include "compat.h"
#include "minga_roster.h"
#include "transfer.h"

#define CONNECT_TIMEOUT_S 30
#define TOTAL_TIMEOUT_S 300
#define LOW_SPEED_BYTES 100		/* bytes a second ... */
#define LOW_SPEED_TIME_S 60		/* ... for so long is a time-out */
#define RECEIVE_BUFFER (512 * 1024L)
#define MAX_SOCKETS 32

struct TransferPool
{
	MemoryContextCallback release;
	CURLM	   *multi;
	CURL	   *easy;
	WaitEventSet *events;
	bool		sockets_changed;
	int			nsockets;
	struct
	{
		curl_socket_t fd;
		int			what;
	}			sockets[MAX_SOCKETS];
	bool		timer_set;
	TimestampTz timer_at;
	bool		descriptor_reserved;
	CURLcode	result;			/* of the transfer that ended last */
};

/* A body on its way; malloc'd. */
typedef struct Body
{
	char	   *data;
	Size		len;
	Size		allocated;
	Size		max_bytes;
	bool		too_large;
	bool		sized;
	CURL	   *easy;
} Body;

static bool curl_is_ready = false;

/* --- called by libcurl: must not ereport, must not palloc --- */

static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	TransferPool *pool = arg;
	int			i = 0;

	while (i < pool->nsockets && pool->sockets[i].fd != fd)
		i++;
	pool->sockets_changed = true;
	if (what == CURL_POLL_REMOVE)
	{
		if (i < pool->nsockets)
			pool->sockets[i] = pool->sockets[--pool->nsockets];
		return 0;
	}
	if (i == MAX_SOCKETS)
		return -1;
	if (i == pool->nsockets)
		pool->nsockets++;
	pool->sockets[i].fd = fd;
	pool->sockets[i].what = what;
	return 0;
}

static int
set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	TransferPool *pool = arg;

	pool->timer_set = timeout_ms >= 0;
	if (pool->timer_set)
		pool->timer_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	return 0;
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
			if (announced > 0 && (Size) announced <= body->max_bytes)
				wanted = Max(wanted, (Size) announced + 1);
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
block_signals(sigset_t *saved)
{
	sigprocmask(SIG_SETMASK, &BlockSig, saved);
}

static void
restore_signals(const sigset_t *saved)
{
	sigprocmask(SIG_SETMASK, saved, NULL);
}

static void
release_pool(void *arg)
{
	TransferPool *pool = arg;
	sigset_t	saved;

	block_signals(&saved);
	if (pool->multi != NULL && pool->easy != NULL)
		curl_multi_remove_handle(pool->multi, pool->easy);
	if (pool->easy != NULL)
		curl_easy_cleanup(pool->easy);
	if (pool->multi != NULL)
		curl_multi_cleanup(pool->multi);
	restore_signals(&saved);
	pool->easy = NULL;
	pool->multi = NULL;
	if (pool->events != NULL)
		FreeWaitEventSet(pool->events);
	pool->events = NULL;
	if (pool->descriptor_reserved)
		ReleaseExternalFD();
	pool->descriptor_reserved = false;
}

static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("libcurl could not make a handle.")));
}

/*
 * A pool for transfers one after the other, with its connections and cookies.
 * Freed with the current memory context.
 */
TransferPool *
transfer_open(void)
{
	TransferPool *pool = palloc0(sizeof(TransferPool));
	sigset_t	saved;

	pool->release.func = release_pool;
	pool->release.arg = pool;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &pool->release);
	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no file descriptor is free for a network connection"),
				 errhint("The DBA may raise max_files_per_process or the system's limit.")));
	pool->descriptor_reserved = true;

	block_signals(&saved);
	if (!curl_is_ready)
		curl_is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	if (curl_is_ready)
	{
		pool->multi = curl_multi_init();
		pool->easy = curl_easy_init();
	}
	restore_signals(&saved);
	if (pool->multi == NULL || pool->easy == NULL)
		out_of_memory();
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
	return pool;
}

/* The set that we wait on follows the sockets of libcurl; a set cannot lose a member, so it is made anew. */
static void
watch_events(TransferPool *pool)
{
	if (pool->events != NULL && !pool->sockets_changed)
		return;
	if (pool->events != NULL)
		FreeWaitEventSet(pool->events);
	pool->events = compat_create_wait_event_set(MAX_SOCKETS + 2);
	AddWaitEventToSet(pool->events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(pool->events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < pool->nsockets; i++)
	{
		int			what = pool->sockets[i].what;
		uint32		wanted = ((what & CURL_POLL_IN) ? WL_SOCKET_READABLE : 0) |
			((what & CURL_POLL_OUT) ? WL_SOCKET_WRITEABLE : 0);

		if (wanted != 0)
			AddWaitEventToSet(pool->events, wanted, pool->sockets[i].fd, NULL, NULL);
	}
	pool->sockets_changed = false;
}

static void
act(TransferPool *pool, curl_socket_t fd, int what)
{
	int			running;
	sigset_t	saved;

	block_signals(&saved);
	curl_multi_socket_action(pool->multi, fd, what, &running);
	restore_signals(&saved);
}

/* Whether the transfer has ended; how is in pool->result. */
static bool
transfer_ended(TransferPool *pool)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(pool->multi, &left)) != NULL)
	{
		if (message->msg == CURLMSG_DONE)
		{
			pool->result = message->data.result;
			return true;
		}
	}
	return false;
}

static void
wait_and_act(TransferPool *pool)
{
	WaitEvent	occurred[MAX_SOCKETS + 2];
	long		timeout_ms = 1000;
	int			noccurred;

	watch_events(pool);
	if (pool->timer_set)
		timeout_ms = Min(timeout_ms, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), pool->timer_at));
	noccurred = WaitEventSetWait(pool->events, timeout_ms, occurred, lengthof(occurred), PG_WAIT_EXTENSION);
	for (int i = 0; i < noccurred; i++)
	{
		if (occurred[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
		else if (occurred[i].events & WL_SOCKET_MASK)
			act(pool, occurred[i].fd,
				((occurred[i].events & WL_SOCKET_READABLE) ? CURL_CSELECT_IN : 0) |
				((occurred[i].events & WL_SOCKET_WRITEABLE) ? CURL_CSELECT_OUT : 0));
	}
	if (pool->timer_set && GetCurrentTimestamp() >= pool->timer_at)
	{
		pool->timer_set = false;
		act(pool, CURL_SOCKET_TIMEOUT, 0);
	}
}

/*
 * Lets the pool's easy handle do what it was set up for.  Throws on an
 * interrupt alone.  No transaction may be open: this waits for the network.
 */
static CURLcode
drive(TransferPool *pool)
{
	sigset_t	saved;

	Assert(!IsTransactionState());
	block_signals(&saved);
	curl_multi_add_handle(pool->multi, pool->easy);
	restore_signals(&saved);
	PG_TRY();
	{
		while (!transfer_ended(pool))
			wait_and_act(pool);
	}
	PG_FINALLY();
	{
		block_signals(&saved);
		curl_multi_remove_handle(pool->multi, pool->easy);
		restore_signals(&saved);
	}
	PG_END_TRY();
	return pool->result;
}

/* Whether the setting for tests covers this URL's host. */
static bool
is_insecure_loopback(const char *url)
{
	UrlParts	parts;
	const char *why;

	return roster_insecure_loopback && url_parse(url, &parts, &why) &&
		(strcmp(parts.host, "127.0.0.1") == 0 || strcmp(parts.host, "[::1]") == 0 || strcmp(parts.host, "localhost") == 0);
}

/* What every transfer has in common. */
static void
set_up(TransferPool *pool, const char *url, const char *ca_file, const char *protocols, char *error_text)
{
	CURL	   *easy = pool->easy;
	bool		insecure = is_insecure_loopback(url);

	curl_easy_reset(easy);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_text);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocols);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long) CONNECT_TIMEOUT_S);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long) TOTAL_TIMEOUT_S);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long) LOW_SPEED_BYTES);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long) LOW_SPEED_TIME_S);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, insecure ? 0L : 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, insecure ? 0L : 2L);
	if (ca_file != NULL && ca_file[0] != '\0')
		curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
}

static TransferFault
fault_of(CURLcode result)
{
	switch (result)
	{
		case CURLE_OK:
			return TRANSFER_OK;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
			return TRANSFER_DNS;
		case CURLE_COULDNT_CONNECT:
		case CURLE_GOT_NOTHING:
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_PARTIAL_FILE:
		case CURLE_HTTP2:
		case CURLE_HTTP2_STREAM:
			return TRANSFER_CONNECT;
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_USE_SSL_FAILED:
			return TRANSFER_TLS;
		case CURLE_OPERATION_TIMEDOUT:
			return TRANSFER_TIMEOUT;
		case CURLE_LOGIN_DENIED:
			return TRANSFER_LOGIN;
		default:
			return TRANSFER_PROTOCOL;
	}
}

static void
response_headers(TransferPool *pool, HttpResponse *response)
{
	struct curl_header *header;
	char	   *text = NULL;
	char	   *end;
	long		status = 0;
	curl_off_t	retry_after = 0;

	curl_easy_getinfo(pool->easy, CURLINFO_RESPONSE_CODE, &status);
	response->status = (int) status;
	curl_easy_getinfo(pool->easy, CURLINFO_CONTENT_TYPE, &text);
	response->content_type = text == NULL ? NULL : pstrdup(text);
	text = NULL;
	curl_easy_getinfo(pool->easy, CURLINFO_REDIRECT_URL, &text);
	response->location = text == NULL ? NULL : pstrdup(text);
	/* Seconds or a date, made seconds by libcurl; 0 where there is none. */
	curl_easy_getinfo(pool->easy, CURLINFO_RETRY_AFTER, &retry_after);
	if (curl_easy_header(pool->easy, "Retry-After", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
		response->retry_after_ms = (int) Min(retry_after, 24 * 3600) * 1000;
	if (curl_easy_header(pool->easy, "X-Total-Count", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
	{
		errno = 0;
		response->total_count = strtoll(header->value, &end, 10);
		if (errno != 0 || end == header->value || *end != '\0' || response->total_count < 0)
			response->total_count = -1;
	}
}

static void
response_times(TransferPool *pool, HttpResponse *response)
{
	curl_off_t	microseconds = 0;

	curl_easy_getinfo(pool->easy, CURLINFO_NAMELOOKUP_TIME_T, &microseconds);
	response->resolved_us = microseconds;
	microseconds = 0;
	curl_easy_getinfo(pool->easy, CURLINFO_CONNECT_TIME_T, &microseconds);
	response->connected_us = microseconds;
	microseconds = 0;
	curl_easy_getinfo(pool->easy, CURLINFO_APPCONNECT_TIME_T, &microseconds);
	response->secured_us = microseconds;
	microseconds = 0;
	curl_easy_getinfo(pool->easy, CURLINFO_TOTAL_TIME_T, &microseconds);
	response->elapsed_us = microseconds;
}

/*
 * Performs one request.  What goes wrong on the way is a fault in the response
 * and no error; throws on an interrupt alone.  The body is malloc'd, for
 * http_release; the other texts are palloc'd.
 */
void
http_perform(TransferPool *pool, const HttpRequest *request, HttpResponse *response)
{
	CURL	   *easy = pool->easy;
	char		error_text[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = NULL;
	char	   *authorization = NULL;
	Body		body = {0};
	volatile CURLcode result = CURLE_OK;

	memset(response, 0, sizeof(*response));
	response->total_count = -1;
	response->retry_after_ms = -1;
	body.max_bytes = request->max_bytes;
	body.easy = easy;

	set_up(pool, request->url, roster_ca_file, is_insecure_loopback(request->url) ? "http,https" : "https", error_text);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(easy, CURLOPT_COOKIEFILE, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "minga_roster");
	if (request->form != NULL)
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->form);
	if (request->basic_user != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
		curl_easy_setopt(easy, CURLOPT_USERNAME, request->basic_user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, request->basic_password);
	}
	if (request->bearer != NULL)
		authorization = psprintf("Authorization: Bearer %s", request->bearer);

	PG_TRY();
	{
		headers = curl_slist_append(headers, "Accept: application/json");
		if (authorization != NULL)
			headers = curl_slist_append(headers, authorization);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		result = drive(pool);
		response_headers(pool, response);
		response_times(pool, response);
	}
	PG_CATCH();
	{
		curl_slist_free_all(headers);
		free(body.data);
		PG_RE_THROW();
	}
	PG_END_TRY();
	curl_slist_free_all(headers);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);

	response->body = body.data;
	response->len = body.len;
	response->fault = body.too_large ? TRANSFER_TOO_LARGE : fault_of(result);
	if (response->fault != TRANSFER_OK)
		response->fault_text = pstrdup(curl_easy_strerror(result));
}

/* Frees the body; the rest of a response goes with its memory context. */
void
http_release(HttpResponse *response)
{
	free(response->body);
	response->body = NULL;
	response->len = 0;
}

/* A header of the mail; a line break would let a value end the headers. */
static struct curl_slist *
mail_header(struct curl_slist *headers, const char *name, const char *value)
{
	if (strpbrk(value, "\r\n") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid mail header \"%s\"", name),
				 errdetail("Its value contains a line break.")));
	return curl_slist_append(headers, psprintf("%s: %s", name, value));
}

/* multipart/alternative: the plain text first, the HTML that is preferred last. */
static curl_mime *
mail_body(CURL *easy, const MailMessage *message)
{
	const char *const parts[][2] = {
		{message->text, "text/plain; charset=utf-8"},
		{message->html, "text/html; charset=utf-8"},
	};
	curl_mime  *mail = curl_mime_init(easy);
	curl_mime  *alternatives = curl_mime_init(easy);
	curl_mimepart *part;

	for (int i = 0; i < lengthof(parts); i++)
	{
		part = curl_mime_addpart(alternatives);
		curl_mime_data(part, parts[i][0], CURL_ZERO_TERMINATED);
		curl_mime_type(part, parts[i][1]);
		curl_mime_encoder(part, "quoted-printable");
	}
	part = curl_mime_addpart(mail);
	curl_mime_subparts(part, alternatives);
	curl_mime_type(part, "multipart/alternative");
	return mail;
}

/* What the mail server's refusal means: 5xx of sender, recipient or mail is final. */
static TransferFault
mail_fault_of(CURLcode result, long status)
{
	if (result == CURLE_LOGIN_DENIED)
		return TRANSFER_LOGIN;
	if (status >= 500 && status < 600 && fault_of(result) == TRANSFER_PROTOCOL)
		return TRANSFER_REFUSED;
	if (result == CURLE_SEND_ERROR && status >= 500)
		return TRANSFER_REFUSED;
	return fault_of(result);
}

/*
 * Sends one mail by the server of minga_roster.smtp_url.  smtp:// has to offer
 * STARTTLS, but for a loopback host in tests.  What goes wrong is a fault, with
 * libcurl's words and the server's status in *fault_text (palloc'd); throws on
 * an interrupt and on a header with a line break.
 */
TransferFault
mail_perform(TransferPool *pool, const MailMessage *message, const char *user, const char *password, char **fault_text)
{
	CURL	   *easy = pool->easy;
	char		error_text[CURL_ERROR_SIZE] = "";
	struct curl_slist *volatile headers = NULL;
	struct curl_slist *recipients = NULL;
	curl_mime  *volatile mail = NULL;
	volatile CURLcode result = CURLE_OK;
	long		status = 0;

	set_up(pool, roster_smtp_url, roster_smtp_ca_file, "smtp,smtps", error_text);
	curl_easy_setopt(easy, CURLOPT_USE_SSL, is_insecure_loopback(roster_smtp_url) ? (long) CURLUSESSL_TRY : (long) CURLUSESSL_ALL);
	if (user != NULL && user[0] != '\0')
	{
		curl_easy_setopt(easy, CURLOPT_USERNAME, user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, password == NULL ? "" : password);
	}
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM, message->from);
	recipients = curl_slist_append(NULL, message->to);
	curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, recipients);

	PG_TRY();
	{
		headers = mail_header(headers, "Date", message->date);
		headers = mail_header(headers, "From", message->from);
		headers = mail_header(headers, "To", message->to);
		headers = mail_header(headers, "Subject", message->subject);
		headers = mail_header(headers, "Message-ID", message->message_id);
		headers = mail_header(headers, "Auto-Submitted", "auto-generated");
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		mail = mail_body(easy, message);
		curl_easy_setopt(easy, CURLOPT_MIMEPOST, mail);
		result = drive(pool);
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	}
	PG_FINALLY();
	{
		curl_easy_reset(easy);
		curl_mime_free(mail);
		curl_slist_free_all(headers);
		curl_slist_free_all(recipients);
	}
	PG_END_TRY();
	if (result == CURLE_OK)
		return TRANSFER_OK;
	*fault_text = status == 0 ? pstrdup(curl_easy_strerror(result)) :
		psprintf("%s (the mail server's last answer was %ld)", curl_easy_strerror(result), status);
	return mail_fault_of(result, status);
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
	result = curl_url_set(handle, CURLUPART_URL, url, CURLU_DEFAULT_SCHEME | CURLU_NON_SUPPORT_SCHEME);
	memset(parts, 0, sizeof(*parts));
	if (result == CURLUE_OK)
	{
		parts->scheme = url_part(handle, CURLUPART_SCHEME, 0);
		parts->user = url_part(handle, CURLUPART_USER, 0);
		parts->host = url_part(handle, CURLUPART_HOST, 0);
		parts->port = url_part(handle, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
		parts->path = url_part(handle, CURLUPART_PATH, 0);
		parts->query = url_part(handle, CURLUPART_QUERY, 0);
		if (parts->host == NULL || parts->host[0] == '\0')
			result = CURLUE_NO_HOST;
	}
	curl_url_cleanup(handle);
	*why = curl_url_strerror(result);
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
	curl_free(encoded);
	return copy;
}

/* A percent-encoded segment as it reads; palloc'd. */
char *
url_decode(const char *value)
{
	char	   *decoded = curl_easy_unescape(NULL, value, 0, NULL);
	char	   *copy;

	if (decoded == NULL)
		out_of_memory();
	copy = pstrdup(decoded);
	curl_free(decoded);
	return copy;
}
