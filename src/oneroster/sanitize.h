/*
 * sanitize.h
 *	  A page made fit for the JSON parser.
 */
#ifndef MINGA_ROSTER_SANITIZE_H
#define MINGA_ROSTER_SANITIZE_H

#include "postgres.h"

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

extern char page_first_byte(const char *body, size_t len);
extern bool mend_page(char *body, size_t len, MendedPage *page);

#endif							/* MINGA_ROSTER_SANITIZE_H */
