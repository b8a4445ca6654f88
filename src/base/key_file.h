/*
 * key_file.h
 *	  The keys that seal secrets, read from the file that the DBA made.
 */
#ifndef MINGA_ROSTER_KEY_FILE_H
#define MINGA_ROSTER_KEY_FILE_H

#include "postgres.h"

#define KEY_LEN 32
#define MAX_KEYS 16

/* The keys of the file, in its order: the first one seals, each of them opens. */
typedef struct KeyRing
{
	int			count;
	unsigned char keys[MAX_KEYS][KEY_LEN];
} KeyRing;

extern void key_ring_load(KeyRing *ring);
extern void key_ring_wipe(KeyRing *ring);
extern bool is_in_data_directory(const char *path);

#endif							/* MINGA_ROSTER_KEY_FILE_H */
