/*
 * http_fault.h
 *	  What each fault of the network and of HTTP means.
 */
#ifndef MINGA_ROSTER_HTTP_FAULT_H
#define MINGA_ROSTER_HTTP_FAULT_H

#include "postgres.h"

#include "net/http.h"
#include "oneroster/fault.h"

extern char *http_found(const char *url, const HttpResponse *response);
extern RosterFault *http_transfer_fault(const char *url, const HttpResponse *response);
extern RosterFault *http_status_fault(const char *url, const HttpResponse *response);

#endif							/* MINGA_ROSTER_HTTP_FAULT_H */
