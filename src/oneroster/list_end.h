/*
 * list_end.h
 *	  What becomes of a list that seems to have ended.
 */
#ifndef MINGA_ROSTER_LIST_END_H
#define MINGA_ROSTER_LIST_END_H

#include "postgres.h"

#include "oneroster/collection_read.h"
#include "oneroster/fault.h"

extern void decide(CollectionRead *read);
extern void take_answer(CollectionRead *read, const PageRequest *request, RosterFault *fault);
extern void begin_with_less(CollectionRead *read, CollectionEnd end);
extern void raise_pending(CollectionRead *read);

#endif							/* MINGA_ROSTER_LIST_END_H */
