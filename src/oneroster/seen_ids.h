/*
 * seen_ids.h
 *	  Which ids the collections of a reading have listed.
 */
#ifndef MINGA_ROSTER_SEEN_IDS_H
#define MINGA_ROSTER_SEEN_IDS_H

#include "postgres.h"

#define SEEN_LISTS_MAX 8

typedef struct SeenIds SeenIds;

extern SeenIds *seen_ids_make(void);
extern void seen_ids_set_kind(SeenIds *seen, int list, int kind);
extern bool seen_ids_are_known(const SeenIds *seen, int list);
extern int	seen_ids_add(SeenIds *seen, int list, const uint64 *ids, int nids);
extern int64 seen_ids_count(const SeenIds *seen, int list);
extern int	seen_ids_count_new(const SeenIds *seen, int list, const uint64 *ids, int nids);
extern bool seen_ids_repeat(const SeenIds *seen);

#endif							/* MINGA_ROSTER_SEEN_IDS_H */
