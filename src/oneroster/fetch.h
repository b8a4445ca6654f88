/*
 * fetch.h
 *	  Shared by the files of the fetch: a page taken apart (page.c, sanitize.c,
 *	  row.c), the stage (stage.c), the reading of collections (collection.c,
 *	  proof.c), the fetch of a run (fetch.c) and the connection test
 *	  (test_connection.c).
 */
#ifndef MINGA_ROSTER_FETCH_H
#define MINGA_ROSTER_FETCH_H

#include "nodes/pg_list.h"

#include "oneroster/client.h"

/* Text fields of a row.  Users and orgs share the first three. */
typedef enum RowText
{
	ROW_SOURCED_ID,
	ROW_STATUS,
	ROW_IDENTIFIER,
	/* users */
	ROW_ROLE,
	ROW_GIVEN_NAME,
	ROW_FAMILY_NAME,
	ROW_MIDDLE_NAME,
	ROW_PREFERRED_NAME,
	ROW_USERNAME,
	ROW_EMAIL,
	ROW_PHONE,
	ROW_SMS,
	ROW_GRADE,
	ROW_DATE_LAST_MODIFIED,
	/* orgs */
	ROW_NAME,
	ROW_TYPE,
	ROW_PARENT_ID,
	ROW_TEXTS
} RowText;

typedef struct RowList
{
	Datum	   *ids;			/* text */
	int			count;
	int			size;
} RowList;

/* One row of a page, a user or an org.  It lives until take_row returns. */
typedef struct PageRow
{
	text	   *texts[ROW_TEXTS];	/* NULL: absent, empty or unreadable */
	bool		enabled;
	bool		damaged;
	const char *damaged_field;	/* the first that cannot be read, static; NULL: characters */
	bool		role_unclear;	/* damaged in its role */
	bool		orgs_unclear;	/* damaged in its orgs */
	RowList		orgs;
	RowList		agents;
	RowList		roles;			/* of roles[], held at the school: the primary ones first */
	bool		roles_over;		/* roles[] holds none that has not ended */
	text	   *legacy_id;		/* of OneRoster 1.1, by Infinite Campus; or NULL */
	char	   *relationships;	/* by Infinite Campus, as JSON; or NULL */
} PageRow;

typedef enum PageKind
{
	PAGE_USERS,
	PAGE_ORGS
} PageKind;

/*
 * How to read the pages of one collection, and what the page read last was.
 * The caller fills the first part once; read_page fills the second.
 */
typedef struct PageReader
{
	PageKind	kind;
	const char *subject;		/* what was asked for, for messages: "students" */
	const char *path;			/* of the request, below the root */
	void		(*take_row) (void *taker, PageRow *row);
	void	   *taker;
	const char *school_id;		/* whose roles count; users only */
	char		ended_before[11];	/* a role with an endDate before this day is over */
	bool		campus_metadata;	/* users have that of Infinite Campus */
	char		envelope[NAMEDATALEN];	/* key that held the rows last; "" at the start */

	bool		bare;			/* an object with no rows in it: {}, or a success status alone */
	bool		null_list;		/* null in the place of the rows */
	int			rows;
	int			without_id;
	uint64		ids_hash;		/* of the sourcedIds, in whatever order */
} PageReader;

/* in page.c */
extern ClientFault *read_page(PageReader *reader, HttpResponse *response);
extern char *page_description(char *body, size_t len);
extern ClientFault *page_without_rows(PageReader *reader, const char *keys);

/* A page made fit for parsing, and where it had to be mended. */
#define MENDED_PLACES_MAX 100000

typedef struct MendedPage
{
	char	   *json;
	size_t		len;
	int		   *places;			/* offsets, ascending */
	int			places_count;
	int			places_size;
} MendedPage;

/* in sanitize.c */
extern char page_first_byte(const char *body, size_t len);
extern bool mend_page(char *body, size_t len, MendedPage *page);

/* in stage.c */
typedef struct Stage Stage;

extern Stage *stage_open(RosterConnection *connection, bool goes_on_to_plan);
extern void stage_begin_page(Stage *stage, PageKind kind, const char *collection);
extern void stage_user(Stage *stage, PageRow *row, bool elsewhere);
extern void stage_org(Stage *stage, PageRow *row);
extern void stage_end_page(Stage *stage);

/* The schools that the key can see, as far as a person has to hear of them. */
typedef struct SchoolList
{
	RosterConnection *connection;
	Stage	   *stage;			/* or NULL: a connection test stages nothing */
	bool		denied;			/* no endpoint lists schools to this key */
	int			denied_status;	/* as the last one answered then */
	bool		found;			/* the connection's own */
	char	   *name;			/* its name, or NULL */
	char	   *other_case;		/* an id that differs in case alone, or NULL */
	int64		count;
	int			broken;			/* pages that broke off */
	int			shown;
	StringInfoData text;		/* the first of them */
} SchoolList;

/* in schools.c */
extern ClientFault *read_schools(RosterClient *client, RosterRun *run, Stage *stage, SchoolList *list);
extern ClientFault *school_fault(const SchoolList *list);

/* A collection to be read: a row of collections_to_read. */
typedef struct RosterCollection
{
	char	   *name;
	char	   *family;
	char	   *path;
	char	  **fallbacks;		/* paths to read instead, in order; ends with NULL */
	char	  **roles;			/* kept of a district-wide endpoint */
	int			nroles;			/* 0: all */
	bool		filtered;		/* a delta asks for what changed only */
} RosterCollection;

/* How a user of a page stands to the school. */
typedef struct RowJudge
{
	const char *school_id;
	const RosterCollection *collection;
	bool		school_scoped;	/* the endpoint is the school's own */
} RowJudge;

/* in fetch.c */
extern bool filter_is_ignored(RosterRun *run, const RosterCollection *collection);
extern List *load_collections(RosterConnection *connection, const RosterRun *run);
extern char *collection_path(RosterConnection *connection, const char *path);
extern char **text_array(Datum array, int *count);
extern bool is_school_scoped(const char *path);
extern void reader_of_users(PageReader *reader, RosterConnection *connection, const RosterCollection *collection);
extern bool is_elsewhere(const RowJudge *judge, const PageRow *row);
extern bool is_nowhere(const RowJudge *judge, const PageRow *row);
extern bool is_denied(const HttpResponse *response);
extern ClientGet *begin_page(RosterClient *client, const char *path, int limit, int64 offset, int flags,
							 Size max_bytes, bool slow_is_final);
extern ClientFault *page_fault(RosterClient *client, ClientGet *get);
extern ClientFault *get_page(RosterClient *client, const char *path, int limit, int64 offset, int flags,
							 HttpResponse **response);
/* What a first page is asked for with, to find out what it is refused for. */
typedef enum AttemptStep
{
	ATTEMPT_LEAST,				/* few rows, no fields, no order */
	ATTEMPT_AGAIN,				/* as at first: it may have passed */
	ATTEMPT_FIELDS,				/* no fields */
	ATTEMPT_SMALL,				/* few rows */
	ATTEMPT_HALF,				/* half of the rows, and half of these, ... */
	ATTEMPT_SORT				/* no order */
} AttemptStep;

typedef struct Attempt
{
	int			wanted;			/* rows asked for at first */
	AttemptStep step;			/* the one to be made */
	int			limit;
	int			flags;
	bool		helped;
} Attempt;

/* in facts.c */
extern void load_facts(RosterClient *client);
extern void learn_fact(RosterClient *client, const char *fact, const char *value);
extern int	page_size_for(const RosterClient *client);
extern void begin_attempts(Attempt *attempt, int wanted);
extern bool judge_attempt(RosterClient *client, Attempt *attempt, bool answered);
extern bool is_page_there(const PageReader *reader, const ClientFault *fault, bool with_rows);
extern bool find_out_refusal(RosterClient *client, const PageReader *reader, int wanted, bool with_rows);

/* in proof.c */
extern bool is_round(int64 rows, int page_size);

/* in collection.c */
extern ClientFault *read_collections(RosterClient *client, RosterRun *run, Stage *stage, List *collections, int requests, bool *filter_ignored);

#endif							/* MINGA_ROSTER_FETCH_H */
