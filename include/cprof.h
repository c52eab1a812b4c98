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
#include <stdint.h>

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

/* The block profile's rate: on average one sample per so many nanoseconds that threads wait; 1 counts every
 * wait, 0 none (what was counted stays).  Returns the previous rate; 0 without the agent.  Errors: none.
 * The default is CPROF_BLOCK_RATE's, 100 us; 0 when CPROF_PROFILES leaves the profile out.  Any thread, signal-safe. */
uint64_t cprof_set_block_rate(uint64_t rate_ns) __attribute__((weak));

/* The same for the mutex profile: nanoseconds that others waited for a lock.  CPROF_MUTEX_RATE, 100 us. */
uint64_t cprof_set_mutex_rate(uint64_t rate_ns) __attribute__((weak));

/* The mutex profile by Go's rule, as runtime.SetMutexProfileFraction(): one of n contentions, however long.
 * While n is not 0 the rate above is not looked at; 0 puts it in force again.  Returns the previous n; 0
 * without the agent.  Errors: none.  Any thread, signal-safe. */
uint64_t cprof_set_mutex_fraction(uint64_t n) __attribute__((weak));

#ifndef CPROF_AGENT
#define cprof_active()                (cprof_active ? cprof_active() : 0)
#define cprof_snapshot()              (cprof_snapshot ? cprof_snapshot() : ENOSYS)
#define cprof_set_block_rate(rate_ns) (cprof_set_block_rate ? cprof_set_block_rate(rate_ns) : 0)
#define cprof_set_mutex_rate(rate_ns) (cprof_set_mutex_rate ? cprof_set_mutex_rate(rate_ns) : 0)
#define cprof_set_mutex_fraction(n)   (cprof_set_mutex_fraction ? cprof_set_mutex_fraction(n) : 0)
#endif

#ifdef __cplusplus
}
#endif

#endif
