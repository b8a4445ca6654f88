/*
 * row_metadata.h
 *	  What Infinite Campus says of a user beside OneRoster 1.2.
 */
#ifndef MINGA_ROSTER_ROW_METADATA_H
#define MINGA_ROSTER_ROW_METADATA_H

#include "postgres.h"

#include "oneroster/row_values.h"

extern void row_take_metadata(RowMaker *maker, const char *json, int len);

#endif							/* MINGA_ROSTER_ROW_METADATA_H */
