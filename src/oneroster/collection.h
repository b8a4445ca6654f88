/*
 * collection.h
 *	  One collection read into the stage.
 */
#ifndef MINGA_ROSTER_COLLECTION_H
#define MINGA_ROSTER_COLLECTION_H

#include "postgres.h"

#include "oneroster/collection_read.h"
#include "oneroster/endpoint.h"

extern CollectionRead *begin_collection(RosterRead *roster, const RosterCollection *collection, int number);
extern void begin_endpoint(CollectionRead *read, const char *path);
extern void take_first_request(CollectionRead *read);

#endif							/* MINGA_ROSTER_COLLECTION_H */
