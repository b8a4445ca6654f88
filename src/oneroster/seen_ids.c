/*
 * seen_ids.c
 *	  Which ids the collections of a reading have listed: how many different ones
 *	  each has, and whether any came twice, in one or in two of them whose ids are
 *	  of one kind: a term and a class may well have the same.
 *
 * An id is known by 56 bits of its hash and has a bit for each collection, so a
 * set of 64-bit words holds them all.  Two ids with the same bits would pass for one,
 * and the collection for one with a row too few, which is never taken for
 * complete: once in a million nights of a district of 400,000.
 *
 * The memory is bounded (SIZE_LOG_MAX).  A roster with more ids, or more
 * collections than there are bits, is not known here, and the stage is asked.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/memutils.h"

#include "oneroster/seen_ids.h"

#define SIZE_LOG_MIN 12
#define SIZE_LOG_MAX 19			/* 4 MB */
#define LIST_BITS UINT64CONST(0xFF)

struct SeenIds
{
	MemoryContext context;
	uint64	   *slots;			/* NULL: there were too many; 0: a free one */
	int			size_log;		/* so many are 2 to that */
	int			used;
	uint64		factor;			/* random and odd: those who choose ids do not choose their slots */
	int64		counts[SEEN_LISTS_MAX];
	int			kinds[SEEN_LISTS_MAX];
	uint64		kin[SEEN_LISTS_MAX];	/* bits of the collections whose ids are of the same kind */
	bool		repeat;
};

StaticAssertDecl(SEEN_LISTS_MAX <= 8, "a collection has one of LIST_BITS");

/* A set without ids; lives in the current memory context. */
SeenIds *
seen_ids_make(void)
{
	SeenIds    *seen = palloc0(sizeof(SeenIds));

	seen->context = CurrentMemoryContext;
	seen->size_log = SIZE_LOG_MIN;
	seen->slots = palloc0(sizeof(uint64) << seen->size_log);
	seen->factor = pg_prng_uint64(&pg_global_prng_state) | 1;
	return seen;
}

/* Notes what the ids of a collection are ids of, before any is added. */
void
seen_ids_set_kind(SeenIds *seen, int list, int kind)
{
	if (list >= SEEN_LISTS_MAX)
		return;
	seen->kinds[list] = kind;
	for (int other = 0; other <= list; other++)
	{
		if (seen->kinds[other] != kind)
			continue;
		seen->kin[list] |= UINT64CONST(1) << other;
		seen->kin[other] |= UINT64CONST(1) << list;
	}
}

/* Whether what is asked of the collection with that number can be told. */
bool
seen_ids_are_known(const SeenIds *seen, int list)
{
	return seen->slots != NULL && list < SEEN_LISTS_MAX;
}

/* The slot of the id, or the free one where it would be. */
static uint64 *
find_slot(const SeenIds *seen, uint64 id)
{
	uint64	   *slots = seen->slots;
	uint32		place = (uint32) (((id & ~LIST_BITS) * seen->factor) >> (64 - seen->size_log));

	while (slots[place] != 0 && ((slots[place] ^ id) & ~LIST_BITS) != 0)
		place = (place + 1) & ((1 << seen->size_log) - 1);
	return &slots[place];
}

/* Makes room for so many more; gives the set up where there is none. */
static void
make_room(SeenIds *seen, int more)
{
	uint64	   *before = seen->slots;
	int			size = 1 << seen->size_log;

	while (seen->size_log <= SIZE_LOG_MAX && seen->used + more > (1 << seen->size_log) / 8 * 7)
		seen->size_log++;
	if (1 << seen->size_log == size)
		return;
	seen->slots = seen->size_log > SIZE_LOG_MAX ? NULL :
		MemoryContextAllocZero(seen->context, sizeof(uint64) << seen->size_log);
	for (int i = 0; seen->slots != NULL && i < size; i++)
	{
		if (before[i] != 0)
			*find_slot(seen, before[i]) = before[i];
	}
	pfree(before);
}

/* Notes the hashes of the ids of a page; returns how many of them the collection had already. */
int
seen_ids_add(SeenIds *seen, int list, const uint64 *ids, int nids)
{
	int			known = 0;
	uint64		bit = UINT64CONST(1) << list;

	if (!seen_ids_are_known(seen, list))
	{
		seen->repeat = true;	/* for all we know */
		return 0;
	}
	make_room(seen, nids);
	if (seen->slots == NULL)
	{
		seen->repeat = true;
		return 0;
	}
	for (int i = 0; i < nids; i++)
	{
		uint64	   *slot = find_slot(seen, ids[i]);

		if (*slot == 0)
		{
			*slot = (ids[i] & ~LIST_BITS) | bit;
			seen->used++;
		}
		else
		{
			seen->repeat |= (*slot & seen->kin[list]) != 0;
			if (*slot & bit)
			{
				known++;
				continue;
			}
			*slot |= bit;
		}
		seen->counts[list]++;
	}
	return known;
}

/* How many different ids the collection has. */
int64
seen_ids_count(const SeenIds *seen, int list)
{
	return seen->counts[list];
}

/* How many different ones of these, which are few, the collection does not have. */
int
seen_ids_count_new(const SeenIds *seen, int list, const uint64 *ids, int nids)
{
	int			count = 0;

	for (int i = 0; i < nids; i++)
	{
		bool		is_new = (*find_slot(seen, ids[i]) >> list & 1) == 0;

		for (int j = 0; j < i && is_new; j++)
			is_new = (ids[j] != ids[i]);
		count += is_new;
	}
	return count;
}

/* Whether an id came twice, be it in two collections; or may have. */
bool
seen_ids_repeat(const SeenIds *seen)
{
	return seen->repeat;
}
