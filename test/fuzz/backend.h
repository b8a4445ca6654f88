/*
 * backend.h
 *	  What the fuzz targets ask of their stand-in for the server.
 */
#ifndef FUZZ_BACKEND_H
#define FUZZ_BACKEND_H

#include "postgres.h"

extern void backend_reset(void);
extern bool backend_raises(void (*function) (void *argument), void *argument);

extern void check(bool holds, const char *what);
extern void check_text(const char *value, size_t len, const char *what);

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif							/* FUZZ_BACKEND_H */
