/*
 * address.h
 *	  Which hosts, ports and addresses a student information system may have.
 */
#ifndef MINGA_ROSTER_ADDRESS_H
#define MINGA_ROSTER_ADDRESS_H

#include <sys/socket.h>

#include "utils/guc.h"

extern bool address_is_public(const struct sockaddr *address);
extern bool host_is_allowed(const char *host, int port);
extern char *host_refusal(const char *host, int port);
extern char *host_hint(const char *host, int port);
extern bool check_allowed_hosts(char **newval, void **extra, GucSource source);

#endif							/* MINGA_ROSTER_ADDRESS_H */
