/*
 * collection.h
 *	  The reading of a collection, shared by what reads it (collection.c) and
 *	  what judges whether it was read to its end (proof.c).
 */
#ifndef MINGA_ROSTER_COLLECTION_H
#define MINGA_ROSTER_COLLECTION_H

#include "utils/hsearch.h"

#include "fetch.h"

#define REQUESTS_MAX 16

/* How a collection came to its end. */
typedef enum CollectionEnd
{
	END_DENIED,					/* 403 or 404, or of their kind, at once */
	END_EMPTY_PAGE,
	END_TOTAL,					/* all ids of a total that did not change */
	END_EMPTY_OBJECT,			/* {} or a null after a page */
	END_NOT_FOUND				/* 404 after a page */
} CollectionEnd;

/* What the collections of a run have in common. */
typedef struct RosterRead
{
	RosterClient *client;
	RosterRun  *run;
	Stage	   *stage;
	int			requests;		/* at a time, as far as they may be */
	int			in_flight;
	Size		bytes_in_flight;	/* at the most */
	int			page_size;		/* to begin a collection with */
} RosterRead;

/* A page that was asked for. */
typedef struct PageRequest
{
	int64		offset;			/* of the first row that is new */
	int			limit;
	bool		overlaps;		/* asked for from the last row of the page before on */
	Size		max_bytes;
	ClientGet  *get;
} PageRequest;

/* The reading of one collection. */
typedef struct CollectionRead
{
	RosterRead *roster;
	MemoryContext context;
	RowJudge	judge;
	PageReader	reader;
	const char *path;			/* as the preset has it: its own, or a fallback */
	char	  **fallbacks;		/* those that are left */
	StringInfoData detail;
	PageRequest requests[REQUESTS_MAX]; /* by offset, without gaps */
	int			nrequests;
	bool		ahead;			/* ask for pages ahead of the one that is due */
	bool		odd;			/* a page did not fit: never again */
	bool		plain;			/* the server does not give pages that overlap */
	int64		position;		/* offset of the row that is due */
	int			page_size;		/* rows asked for */
	int			whole_page_size;	/* where it was not halved */
	int			good_pages;		/* since it was */
	int			pages_to_grow;	/* so many of them double it */
	HTAB	   *pages_seen;		/* ids_hash of each page */
	uint64	   *ids;			/* hashes of the page that is being taken */
	int			nids;
	int			ids_size;
	uint64		last_id;		/* hash of the last row of the page before it */
	bool		last_was_full;	/* that page, or it was the first one */
	bool		overlap_is_due; /* the next row should be that one */
	bool		overlap_came;
	bool		moved;			/* it was another one */
	bool		unchecked;		/* a page behind the first was not asked for so */
	int			pages;
	int			nameless_pages;	/* of them, the last ones */
	int64		rows;
	int64		repeated;		/* ids that came again on the same page */
	int64		without_id;
	int64		elsewhere;
	int64		nowhere;		/* of them, those whose school is not told */
	int64		total;			/* claimed; -1: none */
	CollectionEnd end;
	bool		done;
	ClientFault *fault;			/* once done: why it was denied, or NULL */
} CollectionRead;

/* in proof.c */
extern int	count_repeated(CollectionRead *read);
extern int64 count_distinct(CollectionRead *read);
extern bool is_page_known(CollectionRead *read);
extern void note_page(CollectionRead *read);
extern void note_nameless_page(CollectionRead *read);
extern void note_total(CollectionRead *read, int64 claimed);
extern void add_sentence(StringInfo detail, const char *format,...) pg_attribute_printf(2, 3);
extern void store_collection(CollectionRead *read);

#endif							/* MINGA_ROSTER_COLLECTION_H */
