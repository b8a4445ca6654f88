/*
 * transaction.h
 *	  The short transactions in which a worker reads and writes.
 */
#ifndef MINGA_ROSTER_TRANSACTION_H
#define MINGA_ROSTER_TRANSACTION_H

#include "postgres.h"

extern bool try_begin_worker_transaction(void);
extern void begin_worker_transaction(void);
extern void begin_worker_steps(void);
extern bool begin_worker_transaction_if_none(void);
extern void commit_worker_transaction(void);
extern void abort_worker_transaction(void);
extern void execute_statement(const char *statement, int nargs, Oid *types, Datum *values, const char *nulls);

#endif							/* MINGA_ROSTER_TRANSACTION_H */
