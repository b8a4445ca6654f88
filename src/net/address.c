/*
 * address.c
 *	  Which hosts, ports and addresses a student information system may have:
 *	  port 443 of what the whole Internet can reach, and what
 *	  minga_roster.allowed_hosts names.
 *
 * Who may connect a SIS chooses a URL, and the database server stands where they
 * do not: beside other services, inside a network, on a cloud's host.
 *
 * What it must survive: an address in any spelling.  A host is read as the
 * resolver would read it; and what a name leads to is asked on the socket that
 * is opened (http.c), so that no name can lead elsewhere.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/inet.h"

#include "base/compat.h"
#include "base/settings.h"
#include "net/address.h"

#define HTTPS_PORT 443
#define HOST_MAX 253			/* bytes of a name in the DNS */

ROSTER_FUNCTION(roster_is_public_address);

/* A host as it is compared. */
typedef struct HostName
{
	char		name[HOST_MAX + 1]; /* in lower case, without a dot at its end; an address in its one form */
	bool		is_address;
	struct sockaddr_storage address;
} HostName;

/* A network, by the first bytes of its addresses. */
typedef struct Network
{
	unsigned char address[16];
	int			bits;
} Network;

static bool
is_in(const unsigned char *address, const Network *network)
{
	int			whole = network->bits / 8;
	int			rest = network->bits % 8;

	return memcmp(address, network->address, whole) == 0 &&
		(rest == 0 || ((address[whole] ^ network->address[whole]) >> (8 - rest)) == 0);
}

/*
 * Whether the whole Internet can reach that address, by IANA's registries of
 * special addresses.  Called by libcurl: must not ereport, must not palloc.
 */
bool
address_is_public(const struct sockaddr *address)
{
	static const Network not_public_4[] = {
		{{0}, 8}, {{10}, 8}, {{100, 64}, 10}, {{127}, 8},
		{{168, 63, 129, 16}, 32},	/* the host of a machine in Azure */
		{{169, 254}, 16}, {{172, 16}, 12}, {{192, 0, 0}, 24}, {{192, 0, 2}, 24}, {{192, 88, 99}, 24}, {{192, 168}, 16},
		{{198, 18}, 15}, {{198, 51, 100}, 24}, {{203, 0, 113}, 24}, {{224}, 4}, {{240}, 4},
	};
	static const Network public_6 = {{0x20}, 3};
	static const Network not_public_6[] = {
		{{0x20, 0x01}, 23},		/* protocol assignments, Teredo among them */
		{{0x20, 0x01, 0x0d, 0xb8}, 32}, {{0x3f, 0xff}, 20}, /* documentation */
	};
	static const struct
	{
		Network		network;
		int			at;			/* where its addresses have the one of IPv4 that they lead to */
	}			embedding[] = {
		{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96}, 12}, /* mapped */
		{{{0, 0x64, 0xff, 0x9b}, 96}, 12},	/* NAT64 */
		{{{0x20, 0x02}, 16}, 2},	/* 6to4 */
	};
	const unsigned char *bytes;

	if (address->sa_family == AF_INET6)
	{
		const unsigned char *embedded = NULL;

		bytes = ((const struct sockaddr_in6 *) address)->sin6_addr.s6_addr;
		for (int i = 0; i < lengthof(embedding) && embedded == NULL; i++)
		{
			if (is_in(bytes, &embedding[i].network))
				embedded = bytes + embedding[i].at;
		}
		if (embedded == NULL)
		{
			bool		is_public = is_in(bytes, &public_6);

			for (int i = 0; i < lengthof(not_public_6); i++)
				is_public &= !is_in(bytes, &not_public_6[i]);
			return is_public;
		}
		bytes = embedded;
	}
	else if (address->sa_family == AF_INET)
		bytes = (const unsigned char *) &((const struct sockaddr_in *) address)->sin_addr;
	else
		return false;
	for (int i = 0; i < lengthof(not_public_4); i++)
	{
		if (is_in(bytes, &not_public_4[i]))
			return false;
	}
	return true;
}

/* Reads a host, an address of IPv6 in brackets; false for what is too long or no such address. */
static bool
read_host(const char *host, size_t len, HostName *read)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST,.ai_family = AF_UNSPEC,.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	bool		in_brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';

	if (in_brackets)
	{
		host++;
		len -= 2;
	}
	while (!in_brackets && len > 0 && host[len - 1] == '.')
		len--;
	if (len == 0 || len > HOST_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		read->name[i] = pg_ascii_tolower((unsigned char) host[i]);
	read->name[len] = '\0';

	read->is_address = getaddrinfo(read->name, NULL, &hints, &found) == 0;
	if (!read->is_address)
		return !in_brackets;
	memcpy(&read->address, found->ai_addr, found->ai_addrlen);
	if (found->ai_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *) found->ai_addr)->sin6_addr, read->name, sizeof(read->name));
	else
		inet_ntop(AF_INET, &((struct sockaddr_in *) found->ai_addr)->sin_addr, read->name, sizeof(read->name));
	freeaddrinfo(found);
	return true;
}

/* Reads one entry of the list; *port is 0 for any.  False where it is malformed. */
static bool
read_entry(const char *entry, size_t len, HostName *host, int *port)
{
	const char *end = entry + len;
	const char *colon = memchr(entry, ':', len);

	if (len > 0 && entry[0] == '[')
	{
		const char *bracket = memchr(entry, ']', len);

		if (bracket == NULL)
			return false;
		colon = bracket + 1 < end ? bracket + 1 : NULL;
		if (colon != NULL && *colon != ':')
			return false;
	}
	if (!read_host(entry, (colon != NULL ? colon : end) - entry, host))
		return false;
	for (const char *c = host->name; *c != '\0' && !host->is_address; c++)
	{
		if (!isalnum((unsigned char) *c) && strchr("-_.", *c) == NULL && !IS_HIGHBIT_SET(*c))
			return false;
	}
	*port = HTTPS_PORT;
	if (colon == NULL)
		return true;
	*port = 0;
	if (end - colon == 2 && colon[1] == '*')
		return true;
	for (const char *c = colon + 1; c < end; c++)
	{
		if (*c < '0' || *c > '9' || *port > PG_UINT16_MAX)
			return false;
		*port = *port * 10 + (*c - '0');
	}
	return *port >= 1 && *port <= PG_UINT16_MAX;
}

/* The next entry of a list, without the spaces around it; NULL behind the last one. */
static const char *
next_entry(const char **list, size_t *len)
{
	const char *entry = *list;
	const char *end;

	if (entry == NULL)
		return NULL;
	end = strchr(entry, ',');
	*list = end == NULL ? NULL : end + 1;
	if (end == NULL)
		end = entry + strlen(entry);
	while (entry < end && isspace((unsigned char) *entry))
		entry++;
	while (end > entry && isspace((unsigned char) end[-1]))
		end--;
	*len = end - entry;
	return entry;
}

static bool
is_empty_list(const char *list)
{
	return list == NULL || list[strspn(list, " \t\r\n\v\f")] == '\0';
}

/* Whether minga_roster.allowed_hosts names the host with that port. */
bool
host_is_allowed(const char *host, int port)
{
	const char *list = is_empty_list(roster_allowed_hosts) ? NULL : roster_allowed_hosts;
	const char *entry;
	size_t		len;
	HostName	wanted;
	HostName	allowed;
	int			allowed_port;

	if (!read_host(host, strlen(host), &wanted))
		return false;
	while ((entry = next_entry(&list, &len)) != NULL)
	{
		if (read_entry(entry, len, &allowed, &allowed_port) && strcmp(allowed.name, wanted.name) == 0 &&
			(allowed_port == 0 || allowed_port == port))
			return true;
	}
	return false;
}

/*
 * Why a URL may not have that host and port, if they tell it themselves:
 * a sentence, palloc'd, or NULL.  What a name leads to is told by the socket.
 */
char *
host_refusal(const char *host, int port)
{
	HostName	read;
	const char *domain;

	if (host_is_allowed(host, port))
		return NULL;
	if (!read_host(host, strlen(host), &read))
		return pstrdup("Its host is neither a name nor an address.");
	domain = strrchr(read.name, '.');
	if (strcmp(domain == NULL ? read.name : domain + 1, "localhost") == 0)
		return pstrdup("Its host is the database server itself.");
	if (read.is_address && !address_is_public((struct sockaddr *) &read.address))
		return pstrdup("Its host is an address of the database server, of a private network or of another special "
					   "range.");
	if (port != HTTPS_PORT)
		return psprintf("Its port is %d, and only %d is allowed.", port, HTTPS_PORT);
	return NULL;
}

/* How to allow that host and port beside those that are, which are not for everyone to read; palloc'd. */
char *
host_hint(const char *host, int port)
{
	char	   *entry = quote_literal_cstr(psprintf("%s:%d", host, port));

	if (!is_empty_list(roster_allowed_hosts))
		return psprintf("Ask the DBA to allow it: LOAD 'minga_roster', add %s to the list minga_roster.allowed_hosts "
						"by ALTER SYSTEM, then SELECT pg_reload_conf().", entry);
	return psprintf("Ask the DBA to allow it: LOAD 'minga_roster'; ALTER SYSTEM SET minga_roster.allowed_hosts = %s; "
					"SELECT pg_reload_conf().", entry);
}

/* Check hook of minga_roster.allowed_hosts. */
bool
check_allowed_hosts(char **newval, void **extra, GucSource source)
{
	const char *list = is_empty_list(*newval) ? NULL : *newval;
	const char *entry;
	size_t		len;
	HostName	host;
	int			port;

	while ((entry = next_entry(&list, &len)) != NULL)
	{
		if (!read_entry(entry, len, &host, &port))
		{
			GUC_check_errdetail("\"%.*s\" is none of \"host\", \"host:port\" and \"host:*\"; "
								"an IPv6 address stands in brackets, as in \"[::1]:8443\".", (int) len, entry);
			return false;
		}
	}
	return true;
}

/* is_public_address(inet): whether a host that minga_roster.allowed_hosts does not name may have it. */
Datum
roster_is_public_address(PG_FUNCTION_ARGS)
{
	inet	   *address = PG_GETARG_INET_PP(0);
	struct sockaddr_in of_4 = {.sin_family = AF_INET};
	struct sockaddr_in6 of_6 = {.sin6_family = AF_INET6};

	if (ip_family(address) == PGSQL_AF_INET)
	{
		memcpy(&of_4.sin_addr, ip_addr(address), sizeof(of_4.sin_addr));
		PG_RETURN_BOOL(address_is_public((struct sockaddr *) &of_4));
	}
	memcpy(&of_6.sin6_addr, ip_addr(address), sizeof(of_6.sin6_addr));
	PG_RETURN_BOOL(address_is_public((struct sockaddr *) &of_6));
}
