/*
 * proof.h
 *	  Whether a collection was read to its end.
 */
#ifndef MINGA_ROSTER_PROOF_H
#define MINGA_ROSTER_PROOF_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "oneroster/collection_read.h"
#include "oneroster/fault.h"

extern int	note_ids(CollectionRead *read);
extern int64 count_distinct(CollectionRead *read);
extern int64 count_new(CollectionRead *read, const uint64 *ids, int nids);
extern bool is_page_known(CollectionRead *read);
extern void note_page(CollectionRead *read);
extern void note_nameless_page(CollectionRead *read);
extern void note_total(CollectionRead *read, int64 claimed, int64 staged_before);
extern RosterFault *repeated_fault(CollectionRead *read);
extern RosterFault *left_out_fault(CollectionRead *read);
extern bool is_round(int64 rows, int page_size);
extern bool looks_complete(const CollectionRead *read);
extern void add_sentence(StringInfo detail, const char *format,...) pg_attribute_printf(2, 3);
extern void store_collections(RosterRun *run);
extern void forget_collections(RosterRun *run);

#endif							/* MINGA_ROSTER_PROOF_H */
