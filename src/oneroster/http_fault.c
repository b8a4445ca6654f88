/*
 * http_fault.c
 *	  What each fault of the network and of HTTP means to the people who can mend
 *	  it.
 *
 * No text holds more of a URL than its host, its path and the offset of a page.
 */
#include "postgres.h"

#include "base/settings.h"
#include "base/text.h"
#include "net/address.h"
#include "net/http.h"
#include "net/transfer.h"
#include "net/url.h"
#include "oneroster/fault.h"
#include "oneroster/http_fault.h"
#include "oneroster/page.h"

/* Host of a URL, which may be one that a server sent, for messages; palloc'd. */
static char *
host_of(const char *url)
{
	UrlParts	parts;
	const char *why;

	return url_parse(url, &parts, &why) ? printable(parts.host, 255) : pstrdup("the SIS");
}

/* Path of a URL, with the offset of a page and nothing else of the query, for messages; palloc'd. */
static char *
path_of(const char *url)
{
	UrlParts	parts;
	const char *why;
	const char *offset;

	if (!url_parse(url, &parts, &why))
		return pstrdup("");
	offset = parts.query == NULL ? NULL : strstr(parts.query, "offset=");
	if (offset == NULL)
		return parts.path;
	offset += strlen("offset=");
	return psprintf("%s from offset %.*s", parts.path, (int) strspn(offset, "0123456789"), offset);
}

/* What it means that the URL's host is not allowed; palloc'd, and without the address that a name led to. */
static RosterFault *
forbidden_fault(const char *url, const char *host)
{
	UrlParts	parts;
	const char *why;
	char	   *refusal;

	if (!url_parse(url, &parts, &why))
		return fault_make(ERRCODE_INVALID_PARAMETER_VALUE,
						  "a URL of the connection cannot be read", psprintf("%s.", why),
						  "Set it again with roster_configure(url => ...).");
	refusal = host_refusal(parts.host, url_port(&parts));
	return fault_make(ERRCODE_INSUFFICIENT_PRIVILEGE,
					  psprintf("connections to \"%s\" are not allowed", host),
					  refusal != NULL ? refusal :
					  "Its name leads to an address of a private network or another special range, not of the "
					  "Internet.",
					  host_hint(parts.host, url_port(&parts)));
}

/* What it means that this server does not know which authorities to trust; palloc'd. */
static RosterFault *
trust_fault(const char *host)
{
	char	   *why;
	char	   *file = transfer_trust_file(roster_ca_file, &why);

	return fault_make(ERRCODE_CONFIG_FILE_ERROR,
					  "the database server has no list of certificate authorities to trust",
					  file == NULL ? psprintf("So it cannot know whether \"%s\" is the one it says.", host) :
					  psprintf("File \"%s\" cannot be used: %s. So it cannot know whether \"%s\" is the one it "
							   "says.", file, why, host),
					  roster_ca_file[0] != '\0' ?
					  "This is not about the SIS: ask the DBA to correct minga_roster.ca_file, which the server's "
					  "operating system user must be able to read." :
					  "This is not about the SIS: ask the DBA to install the package \"ca-certificates\" on the "
					  "database server, or name a file of authorities with minga_roster.ca_file.");
}

/* What it means that no answer came; palloc'd. */
RosterFault *
http_transfer_fault(const char *url, const HttpResponse *response)
{
	char	   *host = host_of(url);
	char	   *found = response->fault_text == NULL ? NULL :
	psprintf("libcurl says of %s: %s.", path_of(url), response->fault_text);

	switch (response->fault)
	{
		case TRANSFER_DNS:
			return fault_make(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
							  psprintf("the host name \"%s\" was not found", host), found,
							  "Compare the URL with the one that the SIS shows to the school; if it is right, ask "
							  "the DBA to check that the database server can look up names.");
		case TRANSFER_FORBIDDEN:
			return forbidden_fault(url, host);
		case TRANSFER_UNREACHABLE:
			return fault_make(ERRCODE_CONNECTION_FAILURE,
							  psprintf("\"%s\" could not be reached over TLS", host),
							  psprintf("No request for %s could be sent. The log of the database server has "
									   "libcurl's words on it.",
									   path_of(url)),
							  "The SIS may be down or at another port, or a firewall on either side may block it: "
							  "ask the school's SIS administrator, and ask the DBA to read the log of the database "
							  "server.");
		case TRANSFER_CONNECT:
			return fault_make(ERRCODE_CONNECTION_FAILURE,
							  psprintf("the connection to \"%s\" broke off", host), found,
							  "The SIS may be overloaded, or something on the way may cut connections: ask the "
							  "school's SIS administrator.");
		case TRANSFER_PROXY:
			return fault_make(ERRCODE_CONNECTION_FAILURE,
							  "the proxy of the database server could not be reached",
							  psprintf("No request for %s to \"%s\" could be sent. The log of the database server "
									   "has libcurl's words on it.",
									   path_of(url), host),
							  "This is not about the SIS: ask the DBA to check that the proxy runs and that "
							  "minga_roster.proxy names it.");
		case TRANSFER_PROXY_REFUSED:
			if (response->proxy_status == 407)
				return fault_make(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
								  "the proxy of the database server refused its credentials",
								  psprintf("It answered 407 and made no connection to \"%s\".", host),
								  "This is not about the SIS: ask the DBA to set minga_roster.proxy with the right "
								  "user and password, http://user:password@host:port.");
			return fault_make(ERRCODE_CONNECTION_FAILURE,
							  psprintf("\"%s\" could not be reached through the proxy of the database server", host),
							  psprintf("No request for %s could be sent. The log of the database server has what "
									   "the proxy answered.",
									   path_of(url)),
							  "Ask the DBA to read that, and have the proxy of minga_roster.proxy allow the "
							  "database server this host; if it does, the SIS may be down: ask the school's SIS "
							  "administrator.");
		case TRANSFER_TRUST:
			return trust_fault(host);
		case TRANSFER_TLS:
			return fault_make(ERRCODE_SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION,
							  psprintf("no trusted TLS connection to \"%s\" could be made", host), found,
							  "The certificate of the SIS may have expired, be for another host or come from a "
							  "private authority: ask the school's SIS administrator; for a private authority ask "
							  "the DBA to set minga_roster.ca_file.");
		case TRANSFER_TIMEOUT:
			return fault_make(ERRCODE_CONNECTION_FAILURE,
							  psprintf("\"%s\" did not answer in time", host), found,
							  "The SIS may be overloaded: run at another hour, or ask for smaller pages with "
							  "roster_configure(page_size => ...).");
		case TRANSFER_TOO_LARGE:
			return fault_make(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							  psprintf("a page from \"%s\" is too large", host),
							  psprintf("More than %d MB came for %s.", PAGE_MAX_BYTES / (1024 * 1024), path_of(url)),
							  "Ask for smaller pages with roster_configure(page_size => ...); if they do not get "
							  "smaller, ask the SIS vendor.");
		default:
			return fault_make(ERRCODE_PROTOCOL_VIOLATION,
							  psprintf("\"%s\" did not answer with valid HTTP", host), found,
							  "Compare the URL with the one that the SIS shows to the school; if it is right, ask "
							  "the SIS vendor.");
	}
}

/* What was answered, for a detail; palloc'd. */
char *
http_found(const char *url, const HttpResponse *response)
{
	return psprintf("It answered %d for %s.", response->status, path_of(url));
}

/*
 * What an answer that is no 200 means, but for a 401, which is the
 * authorization's to explain; palloc'd.
 */
RosterFault *
http_status_fault(const char *url, const HttpResponse *response)
{
	char	   *found = http_found(url, response);

	switch (response->status)
	{
		case 403:
			return fault_make(ERRCODE_INSUFFICIENT_PRIVILEGE,
							  "the SIS does not share this list with the connection", found,
							  "Ask the school to share it (in Infinite Campus: Data to Share of the connection).");
		case 404:
			return fault_make(ERRCODE_UNDEFINED_OBJECT,
							  "the SIS does not have what was asked for", found,
							  "Compare URL and School ID with what the SIS shows to the school; if they are right, "
							  "the SIS does not offer this endpoint.");
		case 429:
			return fault_make(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
							  "the SIS asks for fewer requests", found,
							  "Run at another hour: ask the school which hours its SIS allows, and the SIS vendor "
							  "which rate.");
		default:
			if (response->status >= 300 && response->status < 400)
				return fault_make(ERRCODE_PROTOCOL_VIOLATION,
								  "the SIS sent a redirect, which is not followed",
								  psprintf("It answered %d for %s, pointing to host "
										   "\"%s\".", response->status, path_of(url),
										   response->location == NULL ? "" : host_of(response->location)),
								  "Credentials go to the configured host alone. Ask the school for the address that "
								  "answers directly, and set it with roster_configure(url => ...).");
			if (response->status >= 500 || response->status == 408 || response->status == 425)
				return fault_make(ERRCODE_CONNECTION_FAILURE,
								  "the SIS failed to answer", found,
								  "Something is wrong inside the SIS: ask its vendor if it stays so.");
			return fault_make(ERRCODE_PROTOCOL_VIOLATION,
							  "the SIS refused a request", found,
							  "Ask the SIS vendor what is wrong with it; where larger pages than it serves were "
							  "asked for, set roster_configure(page_size => ...).");
	}
}
