/*
 * collection_read.h
 *	  The reading of a collection as it stands, and its requests.
 */
#ifndef MINGA_ROSTER_COLLECTION_READ_H
#define MINGA_ROSTER_COLLECTION_READ_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/hsearch.h"

#include "base/run_row.h"
#include "oneroster/attempt.h"
#include "oneroster/client.h"
#include "oneroster/facts.h"
#include "oneroster/fault.h"
#include "oneroster/needs.h"
#include "oneroster/page.h"
#include "oneroster/scope.h"
#include "oneroster/seen_ids.h"
#include "oneroster/stage.h"

#define REQUESTS_MAX 16
#define ANSWER_IDS 10

/* How a collection came to its end. */
typedef enum CollectionEnd
{
	END_NONE,					/* not yet */
	END_DENIED,					/* 403 or 404, or of their kind, at once */
	END_BROKEN_OFF,				/* by a fault */
	END_EMPTY_PAGE,
	END_EMPTY_OBJECT,			/* {} or a null after a page */
	END_REFUSED,				/* something else than a list */
	END_REPEATED				/* rows that were there before, and no others */
} CollectionEnd;

/* What a request is to find out. */
typedef enum Question
{
	ASK_ROWS,					/* the rows that are due */
	ASK_LESS,					/* why the first page is refused: an attempt (facts.c) */
	ASK_LAST_FIRST,				/* the list from its other end: does it begin with the row read last? */
	ASK_INSIDE,					/* from the last row on: is there another one behind it? */
	ASK_WIDER,					/* with a limit beyond the offset: is the limit taken for the end? */
	ASK_NUMBERED,				/* offset 1: is it taken for the number of a page? */
	ASK_NUMBERED_FROM_1,		/* offset 2 */
	ASK_TWO						/* two rows: is the limit ignored? */
} Question;

/* What the rows behind the end said, from the last one of the list on. */
typedef enum Inside
{
	INSIDE_UNKNOWN,				/* not asked for, or no answer to it */
	INSIDE_ENDS,				/* that row alone */
	INSIDE_GOES_ON,				/* others behind it */
	INSIDE_EMPTY				/* nothing, not even that row */
} Inside;

/* What the collections of a run have in common. */
typedef struct RosterRead
{
	RosterClient *client;
	RosterRun  *run;
	Stage	   *stage;
	SeenIds    *seen;
	RosterNeeds *needs;
	int			requests;		/* at a time, if allowed */
	int			in_flight;
	Size		bytes_in_flight;	/* at the most */
	int			page_size;		/* to begin a collection with */
	List	   *reads;			/* CollectionRead, of the round */
	int			overlap_accidents;	/* refusals of it that may be of the moment */
	TimestampTz unstored_since; /* when the first of run->unstored had been read */
} RosterRead;

/* A page that was asked for. */
typedef struct PageRequest
{
	Question	question;
	int64		offset;			/* of the first row that is new */
	int			limit;			/* rows that may come */
	bool		overlaps;		/* asked for from the last row of the page before on */
	Size		max_bytes;
	ClientGet  *get;
} PageRequest;

/* The reading of one collection. */
typedef struct CollectionRead
{
	RosterRead *roster;
	int			number;			/* of the collection, from 0 */
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
	OverlapFact overlap_was;	/* how that showed tonight, at refused_at */
	bool		overlap_accident;	/* it may have been one */
	bool		overlap_forced; /* the next page begins with the last row: the server refuses it otherwise */
	RosterFault *forced_by;
	int64		refused_at;
	int64		position;		/* offset of the row that is due */
	int			page_size;		/* rows asked for */
	int			whole_page_size;	/* where it was not halved */
	int			good_pages;		/* since it was */
	int			pages_to_grow;	/* so many of them double it */
	HTAB	   *pages_seen;		/* ids_hash of each page */
	uint64	   *ids;			/* hashes of the page that is being taken */
	int			nids;
	int			ids_size;
	uint64		first_id;		/* hash of the first row of the list */
	uint64		last_id;		/* hash of the last row of the page before it */
	bool		last_was_full;	/* that page, or it was the first one */
	bool		page_was_full;	/* the last page with new rows had as many as asked for */
	bool		overlap_is_due; /* the next row should be that one */
	bool		overlap_came;
	bool		moved;			/* it was another one */
	bool		unchecked;		/* a page behind the first was not asked for so */
	int			pages;
	int			nameless_pages; /* of them, the last ones */
	int64		rows;
	int64		repeated;		/* ids that came again on the same page */
	int64		without_id;
	int64		elsewhere;
	int64		nowhere;		/* of them, those whose school is not told */
	int64		total;			/* claimed; -1: none */
	bool		total_is_unfiltered;	/* it counts rows that the filter of the path leaves out */
	bool		total_reached;	/* as many different ids as are claimed */
	CollectionEnd end;			/* as it looks, while questions are asked */
	const char *end_words;		/* of END_REFUSED: what came */
	bool		end_is_4xx;		/* it was a plain no */
	Question	question;		/* to be asked next */
	int			asked;			/* bits: questions asked at this position */
	Attempt		attempt;		/* of ASK_LESS */
	bool		attempts_over;
	uint64		answer_ids[ANSWER_IDS]; /* hashes, of the first rows of an answer that is not staged */
	int			nanswer_ids;
	int			answer_rows;
	Inside		inside;
	bool		counted;		/* limit and offset are seen to count rows */
	bool		empty_inside;	/* the server gives empty pages inside the list */
	bool		limit_ignored;	/* more rows came than were asked for */
	bool		limit_is_end;
	int			page_numbers;	/* the offset is the number of a page: the first one's, plus 1; 0: it is not */
	bool		last_seen;		/* the list begins at its other end with the row read last */
	bool		row_missing;	/* ... with one that was not read */
	bool		new_rows_due;	/* rows behind the end were looked at, and some are new */
	RosterFault *pending;		/* to be raised where no question helps, or NULL */
	bool		done;
	RosterFault *fault;			/* once done: why it was denied, or NULL */
} CollectionRead;

#define SMALL_PAGE 50			/* rows; smaller ones do not make a slow server faster */

extern void request_pages(CollectionRead *read);
extern void forget_first_request(CollectionRead *read);
extern void forget_requests(CollectionRead *read);
extern void drop_back(CollectionRead *read);
extern bool ask_once(CollectionRead *read, Question question);
extern void ask_for_rows(CollectionRead *read);
extern bool has_unfiltered(const CollectionRead *read);
extern void finish(CollectionRead *read);

#endif							/* MINGA_ROSTER_COLLECTION_READ_H */
