/*
 * secret_file.h
 *	  A secret that is handed over in a file, which goes when its transaction commits.
 */
#ifndef MINGA_ROSTER_SECRET_FILE_H
#define MINGA_ROSTER_SECRET_FILE_H

#include "postgres.h"

extern char *secret_file_take(const char *name);

#endif							/* MINGA_ROSTER_SECRET_FILE_H */
