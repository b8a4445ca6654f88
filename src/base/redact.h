/*
 * redact.h
 *	  Which texts of errors may be shown.
 */
#ifndef MINGA_ROSTER_REDACT_H
#define MINGA_ROSTER_REDACT_H

#include "postgres.h"

extern bool error_is_from_within(const ErrorData *edata);
extern bool error_may_quote_data(const ErrorData *edata, bool has_begun);
extern bool error_is_in_our_words(const ErrorData *error);
extern bool error_may_be_stored(const ErrorData *error);

#endif							/* MINGA_ROSTER_REDACT_H */
