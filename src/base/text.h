/*
 * text.h
 *	  Which characters a text may hold that people read.
 */
#ifndef MINGA_ROSTER_TEXT_H
#define MINGA_ROSTER_TEXT_H

#include "postgres.h"

extern bool text_is_clean(const char *value, int len);
extern char *text_cleaned(const char *value, int *len, bool is_id);
extern const char *text_wide_encoding(const char *bytes, size_t len);
extern char *text_without_secrets(const char *words);
extern char *printable(const char *value, int max_bytes);

#endif							/* MINGA_ROSTER_TEXT_H */
