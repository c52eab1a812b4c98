/* cprof.h - the agent's functions, for programs that want to talk to it.
 *
 * No library has to be linked: the functions are weak references that the preloaded libcprof.so fills.
 * Without it every call is a test of a pointer and returns what is said below.  C and C++.
 *
 *     if (cprof_active())
 *         cprof_snapshot();
 */
#ifndef CPROF_H
#define CPROF_H

#include <errno.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 1: libcprof.so is loaded and on.  0: it is not loaded, or CPROF=off, or it switched itself off.
 * Errors: none.  Any thread, signal-safe. */
int cprof_active(void) __attribute__((weak));

/* Writes a snapshot of all profiles, as SIGUSR2 does: to CPROF_OUT, else to the directory in which the
 * program was started.  When another thread is writing one right now, that thread writes another one
 * after it.  Returns 0 when it is written or left to that thread; ENOSYS without the agent, EPERM in a
 * vfork child.  What cannot be written is logged by the agent.  Keeps errno.  Any thread, signal-safe. */
int cprof_snapshot(void) __attribute__((weak));

#ifndef CPROF_AGENT
#define cprof_active()   (cprof_active ? cprof_active() : 0)
#define cprof_snapshot() (cprof_snapshot ? cprof_snapshot() : ENOSYS)
#endif

#ifdef __cplusplus
}
#endif

#endif
