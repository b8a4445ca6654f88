/*
 * transfer.c
 *	  Pools of connections, and the loop that drives libcurl's transfers on a
 *	  WaitEventSet.  What is transferred is up to http.c and
 *	  smtp.c; no other file sees a header of libcurl.
 *
 * What it must survive:
 *	- a cancel or a shutdown in the middle of a transfer: we wait on our latch and
 *	  on libcurl's sockets in one WaitEventSet, so both act at once;
 *	- an error that is raised above us: handles are freed by a memory context
 *	  callback, which is armed before they are made;
 *	- libcurl's resolver thread: signals are blocked whenever libcurl runs, so it
 *	  inherits a mask under which none of the server's handlers runs in it.
 *
 * Callbacks of libcurl must not raise an error or use palloc: a longjmp through
 * libcurl's frames would leave it broken.  They use malloc and say no by their
 * return value.
 *
 * The loop carries as many transfers as were started, each with an end of its
 * own; they share connections (HTTP/2 puts them on one) and cookies, which a load
 * balancer may have sent with the token.
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "access/xact.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/settings.h"
#include "base/text.h"
#include "net/transfer.h"
#include "net/transfer_internal.h"
#include "net/url.h"

/* Shares of roster_request_timeout. */
#define CONNECT_SHARE 10
#define LOW_SPEED_SHARE 5
#define LOW_SPEED_BYTES 100		/* fewer in each second of that share is a time-out */
#define WAIT_MAX_MS 1000

#define SPARE_MAX_BYTES (2 * 1024 * 1024)

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
	for (Transfer *transfer = pool->transfers; transfer != NULL; transfer = transfer->next)
	{
		if (transfer->in_multi)
			curl_multi_remove_handle(pool->multi, transfer->easy);
		curl_easy_cleanup(transfer->easy);
		curl_slist_free_all(transfer->headers);
		free(transfer->body.data);
		ReleaseExternalFD();
	}
	pool->transfers = NULL;
	while (pool->nspares > 0)
		free(pool->spares[--pool->nspares].data);
	if (pool->multi != NULL)
		curl_multi_cleanup(pool->multi);
	pool->multi = NULL;
	if (pool->cookies != NULL)
		curl_share_cleanup(pool->cookies);
	pool->cookies = NULL;
	restore_signals(&saved);
	if (pool->events != NULL)
		FreeWaitEventSet(pool->events);
	pool->events = NULL;
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
 * A pool for transfers at a time, which share its connections and cookies.
 * Freed with the current memory context.
 */
TransferPool *
transfer_open(void)
{
	TransferPool *pool = palloc0(sizeof(TransferPool));
	sigset_t	saved;

	pool->context = CurrentMemoryContext;
	pool->release.func = release_pool;
	pool->release.arg = pool;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &pool->release);

	block_signals(&saved);
	if (!curl_is_ready)
		curl_is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	if (curl_is_ready)
	{
		pool->multi = curl_multi_init();
		pool->cookies = curl_share_init();
	}
	restore_signals(&saved);
	if (pool->multi == NULL || pool->cookies == NULL ||
		curl_share_setopt(pool->cookies, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE) != CURLSHE_OK)
		out_of_memory();
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
	return pool;
}

/* A handle that no one uses, until transfer_put_back or the end of the pool. */
Transfer *
transfer_take(TransferPool *pool)
{
	Transfer   *transfer = pool->transfers;
	sigset_t	saved;

	while (transfer != NULL && transfer->taken)
		transfer = transfer->next;
	if (transfer == NULL)
	{
		transfer = MemoryContextAllocZero(pool->context, sizeof(Transfer));
		if (!AcquireExternalFD())
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("no file descriptor is free for a network connection"),
					 errhint("Ask the DBA to raise max_files_per_process or the system's limit.")));
		block_signals(&saved);
		transfer->easy = curl_easy_init();
		restore_signals(&saved);
		if (transfer->easy == NULL)
		{
			ReleaseExternalFD();
			out_of_memory();
		}
		/* survives curl_easy_reset */
		curl_easy_setopt(transfer->easy, CURLOPT_SHARE, pool->cookies);
		transfer->next = pool->transfers;
		pool->transfers = transfer;
	}
	transfer->taken = true;
	transfer->ended = false;
	return transfer;
}

/* Takes the memory of a body that is no longer read, malloc'd, or NULL. */
void
transfer_spare_body(TransferPool *pool, char *data, Size allocated)
{
	if (data == NULL || pool->nspares == SPARES_MAX || allocated > SPARE_MAX_BYTES)
	{
		free(data);
		return;
	}
	pool->spares[pool->nspares].data = data;
	pool->spares[pool->nspares++].allocated = allocated;
}

/*
 * Ends a transfer where it is under way, and leaves nothing of it behind: no
 * credentials, no pointers.  What the caller keeps of it, it has taken out.
 */
void
transfer_put_back(TransferPool *pool, Transfer *transfer)
{
	sigset_t	saved;

	block_signals(&saved);
	if (transfer->in_multi)
		curl_multi_remove_handle(pool->multi, transfer->easy);
	curl_easy_reset(transfer->easy);
	curl_slist_free_all(transfer->headers);
	restore_signals(&saved);
	transfer_spare_body(pool, transfer->body.data, transfer->body.allocated);
	memset(&transfer->body, 0, sizeof(transfer->body));
	transfer->headers = NULL;
	transfer->in_multi = false;
	transfer->taken = false;
}

/* The set that we wait on follows the sockets of libcurl; a set cannot lose a member, so a new one is made. */
static void
watch_events(TransferPool *pool)
{
	if (pool->events != NULL && !pool->sockets_changed)
		return;
	if (pool->events != NULL)
		FreeWaitEventSet(pool->events);
	pool->events = NULL;		/* making the next one may raise */
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

/* False when libcurl cannot go on. */
static bool
act(TransferPool *pool, curl_socket_t fd, int what)
{
	int			running;
	sigset_t	saved;
	CURLMcode	result;

	block_signals(&saved);
	result = curl_multi_socket_action(pool->multi, fd, what, &running);
	restore_signals(&saved);
	return result == CURLM_OK;
}

/* Notes which transfers have ended. */
static void
note_ends(TransferPool *pool)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(pool->multi, &left)) != NULL)
	{
		Transfer   *transfer = NULL;

		if (message->msg == CURLMSG_DONE &&
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) == CURLE_OK)
		{
			transfer->ended = true;
			transfer->result = message->data.result;
		}
	}
}

/*
 * Waits until a socket is ready, a timer or that time is due or an interrupt
 * comes, and acts on it.  False when libcurl cannot go on.
 */
static bool
wait_and_act(TransferPool *pool, TimestampTz until)
{
	WaitEvent	occurred[MAX_SOCKETS + 2];
	TimestampTz now = GetCurrentTimestamp();
	long		timeout_ms = Min(WAIT_MAX_MS, TimestampDifferenceMilliseconds(now, until));
	int			noccurred;
	bool		goes_on = true;

	watch_events(pool);
	if (pool->timer_set)
		timeout_ms = Min(timeout_ms, TimestampDifferenceMilliseconds(now, pool->timer_at));
	noccurred = WaitEventSetWait(pool->events, timeout_ms, occurred, lengthof(occurred), PG_WAIT_EXTENSION);
	for (int i = 0; i < noccurred; i++)
	{
		if (occurred[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
		else if (occurred[i].events & WL_SOCKET_MASK)
			goes_on &= act(pool, occurred[i].fd,
						   ((occurred[i].events & WL_SOCKET_READABLE) ? CURL_CSELECT_IN : 0) |
						   ((occurred[i].events & WL_SOCKET_WRITEABLE) ? CURL_CSELECT_OUT : 0));
	}
	if (pool->timer_set && GetCurrentTimestamp() >= pool->timer_at)
	{
		pool->timer_set = false;
		goes_on &= act(pool, CURL_SOCKET_TIMEOUT, 0);
	}
	return goes_on;
}

/* Starts a prepared transfer; transfer_wait carries it on. */
void
transfer_start(TransferPool *pool, Transfer *transfer)
{
	sigset_t	saved;

	block_signals(&saved);
	transfer->in_multi = (curl_multi_add_handle(pool->multi, transfer->easy) == CURLM_OK);
	restore_signals(&saved);
	transfer->ended = !transfer->in_multi;
	transfer->result = CURLE_FAILED_INIT;
}

bool
transfer_has_ended(const Transfer *transfer)
{
	return transfer->ended;
}

/*
 * Carries all transfers of the pool on until one of them has moved, but not
 * beyond that time; to be called in a loop.  Throws on an interrupt alone.  No
 * transaction may be open: this waits for the network.
 */
void
transfer_wait(TransferPool *pool, TimestampTz until)
{
	Assert(!IsTransactionState());
	CHECK_FOR_INTERRUPTS();
	if (!wait_and_act(pool, until))
	{
		for (Transfer *transfer = pool->transfers; transfer != NULL; transfer = transfer->next)
		{
			if (transfer->in_multi && !transfer->ended)
			{
				transfer->ended = true;
				transfer->result = CURLE_OUT_OF_MEMORY;
			}
		}
	}
	note_ends(pool);
}

/* Sets what every transfer has in common; what an earlier one left is gone, but for connections and cookies. */
void
transfer_prepare(Transfer *transfer, const char *url, const char *ca_file, const char *protocols)
{
	CURL	   *easy = transfer->easy;
	bool		insecure = url_is_insecure(url);

	curl_easy_reset(easy);
	transfer->error_text[0] = '\0';
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error_text);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Else ending a transfer would wait, with signals blocked, for a resolver that hangs. */
	compat_leave_resolver(easy);
	compat_set_protocols(easy, protocols);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	/* Else the environment of the server would choose a proxy, and what goes around it. */
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, roster_request_timeout * 1000L / CONNECT_SHARE);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long) roster_request_timeout);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long) LOW_SPEED_BYTES);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long) roster_request_timeout / LOW_SPEED_SHARE);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, insecure ? 0L : 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, insecure ? 0L : 2L);
	if (ca_file != NULL && ca_file[0] != '\0')
		curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
}

/* Which fault a result of libcurl is; the client and the mail give it its SQLSTATE. */
TransferFault
transfer_fault(CURLcode result)
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
		case CURLE_PROXY:
		case CURLE_HTTP2:
		case CURLE_HTTP2_STREAM:
			return TRANSFER_CONNECT;
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_USE_SSL_FAILED:
			return TRANSFER_TLS;
		case CURLE_SSL_CACERT_BADFILE:
			return TRANSFER_TRUST;
		case CURLE_OPERATION_TIMEDOUT:
			return TRANSFER_TIMEOUT;
		case CURLE_LOGIN_DENIED:
			return TRANSFER_LOGIN;
		default:
			return TRANSFER_PROTOCOL;
	}
}

/*
 * The file of the authorities that are trusted, the configured one or
 * libcurl's own, and in *why what is wrong with it; palloc'd.  NULL where
 * libcurl was built without one.
 */
char *
transfer_trust_file(const char *configured, char **why)
{
	const char *file = configured;

	*why = NULL;
	if (file[0] == '\0')
		file = curl_version_info(CURLVERSION_NOW)->cainfo;
	if (file == NULL)
		return NULL;
	*why = pstrdup(access(file, R_OK) != 0 ? strerror(errno) : "it holds no certificate");
	return pstrdup(file);
}

/*
 * libcurl's words on a transfer that failed; palloc'd.  They name hosts, ports and
 * certificates, never a path, a query or a header.
 */
char *
transfer_fault_text(const Transfer *transfer)
{
	switch (transfer_fault(transfer->result))
	{
		case TRANSFER_DNS:
		case TRANSFER_CONNECT:
		case TRANSFER_TLS:
		case TRANSFER_TRUST:
		case TRANSFER_TIMEOUT:
			if (transfer->error_text[0] != '\0')
				return printable(transfer->error_text, CURL_ERROR_SIZE);
			/* FALLTHROUGH */
		default:
			return pstrdup(curl_easy_strerror(transfer->result));
	}
}
