/*
 * page_request.h
 *	  One page of a list asked for.
 */
#ifndef MINGA_ROSTER_PAGE_REQUEST_H
#define MINGA_ROSTER_PAGE_REQUEST_H

#include "postgres.h"

#include "net/http.h"
#include "oneroster/client.h"
#include "oneroster/fault.h"

extern ClientGet *begin_page(RosterClient *client, const char *path, const char *fields, int limit, int64 offset,
							 int flags, Size max_bytes, bool slow_is_final);
extern RosterFault *page_fault(RosterClient *client, ClientGet *get);
extern RosterFault *get_page(RosterClient *client, const char *path, const char *fields, int limit, int64 offset,
							 int flags, HttpResponse **response);

#endif							/* MINGA_ROSTER_PAGE_REQUEST_H */
