/*
 * memory.c
 *	  Secrets in memory: a process that may hold one leaves no core file, and what
 *	  held one is wiped with its memory context.
 *
 * What it must survive: an error, a cancel or a crash between the moment a
 * secret is read and the moment its user would wipe it.
 */
#include "postgres.h"

#include <sys/resource.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#ifdef __FreeBSD__
#include <sys/procctl.h>
#endif

#include "utils/memutils.h"

#include "base/memory.h"

/*
 * From here to its end the process leaves no core file, and on Linux and FreeBSD
 * no process of its user can read its memory either.  For good, as freed memory
 * may hold a rest of a secret for long.
 */
void
never_dump_core(void)
{
	static bool done = false;
	const struct rlimit none = {0, 0};

	if (done)
		return;
	(void) setrlimit(RLIMIT_CORE, &none);
#ifdef __linux__
	(void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
#ifdef __FreeBSD__
	{
		int			disable = PROC_TRACE_CTL_DISABLE;

		(void) procctl(P_PID, 0, PROC_TRACE_CTL, &disable);
	}
#endif
	done = true;
}

/* A secret in memory that ends with its context. */
typedef struct HeldSecret
{
	MemoryContextCallback end;
	char	   *value;
	Size		size;
} HeldSecret;

static void
wipe_held_secret(void *arg)
{
	HeldSecret *held = arg;

	explicit_bzero(held->value, held->size);
}

/*
 * Wipes memory of the current memory context when that ends, also by an error
 * or a cancel before the caller could.  It must not be freed or moved before.
 */
void
wipe_with_context(char *value, Size size)
{
	HeldSecret *held = palloc(sizeof(HeldSecret));

	held->value = value;
	held->size = size;
	held->end.func = wipe_held_secret;
	held->end.arg = held;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &held->end);
}
