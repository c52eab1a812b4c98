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
#include <stddef.h>
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

/* The heap profile's rate, as runtime.MemProfileRate: mean bytes between samples; 1 every allocation, 0 none.
 * Returns the previous rate; 0 without the agent.  A process has at most 63 different ones, another one changes nothing.
 * Errors: none.  Any thread, signal-safe. */
uint64_t cprof_set_heap_rate(uint64_t rate_bytes) __attribute__((weak));

/* ---- profiles of the program's own, as Go's runtime/pprof.Profile ---- */

/* A set of live values and the stacks that added them: connections, files, handles, whatever is opened and closed.  A value
 * lives in the process's memory: a forked child has a copy; a vfork child sees its parent's and changes nothing.  A profile
 * is never freed; what has live values is in every snapshot, as PROGRAM.PID.NUMBER.NAME.pb.gz.  Without the agent all is a
 * no-op: profiles are NULL, adding succeeds.  An agent that is off but may be started (CPROF=off CPROF_HTTP=...) makes
 * profiles; adding to them succeeds, and has an effect from its start on. */
typedef struct cprof_profile cprof_profile;

/* A new profile.  NULL and errno: EINVAL (name NULL, empty, over 255 bytes, or with white space), EEXIST (in use, a
 * built-in one, or kept for one: cpu, thread, profile, cmdline, symbol, ...), ENOSPC (no memory, or 4096 are there),
 * EPERM (vfork child), ENOSYS (without the agent).  Any thread, signal-safe. */
cprof_profile *cprof_profile_new(const char *name) __attribute__((weak));

/* The profile of that name, also a built-in one ("heap", "mutex", ...); NULL: there is none.  Keeps errno.
 * Any thread, signal-safe. */
cprof_profile *cprof_profile_lookup(const char *name) __attribute__((weak));

/* Calls callback(profile, arg) for each profile, built-in ones too, sorted by name.  The callback may do anything.
 * Keeps errno (itself).  Any thread, signal-safe. */
void cprof_profiles(void (*callback)(cprof_profile *profile, void *arg), void *arg)
    __attribute__((weak));

/* Its name; "" for NULL.  Any thread, signal-safe. */
const char *cprof_profile_name(const cprof_profile *profile) __attribute__((weak));

/* How many values are live; of a built-in profile, what it counts (threads made, connections open: those by
 * a snapshot, so it may wait like cprof_profile_write() and is then 0 where that fails), or else the stacks that it shows.  0 for NULL.  Keeps errno.  Any thread, signal-safe. */
size_t cprof_profile_count(const cprof_profile *profile) __attribute__((weak));

/* Adds a value, any 64 bits, under the stack of the caller without its innermost `skip` functions: 0 is the function
 * that calls cprof_profile_add().  A skip below 0 is 0; beyond the end of the stack the value is shown under [lost].
 * Returns 0; EEXIST: the value is live already and keeps its stack; EPERM: a built-in profile; EINVAL:
 * NULL; ENOMEM: over CPROF_MEMORY, not added.  Without the agent, and in a vfork child, 0 and no effect.  Keeps errno.
 * Any thread, signal-safe. */
int cprof_profile_add(cprof_profile *profile, const void *value, int skip)
    __attribute__((weak));

/* Takes a value out; one that is not there (and NULL, or a built-in profile) is a no-op.  Any thread, also
 * another one than added it.  Keeps errno.  Signal-safe. */
void cprof_profile_remove(cprof_profile *profile, const void *value) __attribute__((weak));

/* Writes the profile as it is now to a descriptor: debug 0 a gzipped pprof file, 1 and more text that people and `go tool
 * pprof` read.  Returns 0 or an errno value: EINVAL (NULL, debug below 0), EBUSY (no turn in 5 s; or in a signal handler
 * that interrupted the agent), EPERM (vfork child), ENOMEM, ENOSYS without the agent, or what write(2) said.  Needs no malloc or
 * stdio.  Keeps errno.  Any thread. */
int cprof_profile_write(const cprof_profile *profile, int fd, int debug) __attribute__((weak));

/* ---- labels of threads ---- */

/* The calling thread's label `key` becomes `value` (texts, copied), or is taken off when value is NULL: what it works at, for
 * instance a tenant or a kind of request.  Shown with the samples of what a thread is doing at the moment of a
 * snapshot: the waits in progress of the block profile.  A new thread has none.
 * Returns 0; EINVAL: key NULL, empty or one of the agent's own (bytes, wait, state, thread, tid, entry), key or value
 * over 255 bytes; ENOSPC: the thread has four others; ENOMEM: over CPROF_MEMORY, the old value stays.  0
 * without the agent.  Equal texts take memory once, and for ever: do not put request numbers there.  Keeps errno.
 * Any thread, signal-safe. */
int cprof_label_set(const char *key, const char *value) __attribute__((weak));

#ifndef CPROF_AGENT
/* Where the function is; NULL without the agent.  Read from the GOT: any other reference of a program that is not
 * position independent is settled by the linker, which knows no agent, as 0 for ever. */
#if defined(__x86_64__) && defined(__LP64__)
#define CPROF_AT(function) \
    (__extension__({ \
        __typeof__(&function) cprof_at_; \
        __asm__(".weak " #function "\n\t" \
                "{movq " #function "@GOTPCREL(%%rip), %0|" \
                "mov %0, QWORD PTR " #function "@GOTPCREL[rip]}" \
                : "=r"(cprof_at_)); \
        cprof_at_; \
    }))
#else
#define CPROF_AT(function) (function)
#endif
/* CPROF_CALL(function, what it is without the agent, (arguments)) */
#define CPROF_CALL(function, otherwise, arguments) \
    (CPROF_AT(function) ? CPROF_AT(function) arguments : otherwise)

#define cprof_active()                CPROF_CALL(cprof_active, 0, ())
#define cprof_snapshot()              CPROF_CALL(cprof_snapshot, ENOSYS, ())
#define cprof_set_block_rate(rate_ns) CPROF_CALL(cprof_set_block_rate, 0, (rate_ns))
#define cprof_set_mutex_rate(rate_ns) CPROF_CALL(cprof_set_mutex_rate, 0, (rate_ns))
#define cprof_set_mutex_fraction(n)   CPROF_CALL(cprof_set_mutex_fraction, 0, (n))
#define cprof_set_heap_rate(rate)     CPROF_CALL(cprof_set_heap_rate, 0, (rate))
#define cprof_label_set(key, value)   CPROF_CALL(cprof_label_set, 0, (key, value))
#define cprof_profile_new(name) \
    CPROF_CALL(cprof_profile_new, (errno = ENOSYS, (cprof_profile *)0), (name))
#define cprof_profile_lookup(name)    CPROF_CALL(cprof_profile_lookup, (cprof_profile *)0, (name))
#define cprof_profiles(callback, arg) CPROF_CALL(cprof_profiles, (void)0, (callback, arg))
#define cprof_profile_name(profile)   CPROF_CALL(cprof_profile_name, "", (profile))
#define cprof_profile_count(profile)  CPROF_CALL(cprof_profile_count, (size_t)0, (profile))
#define cprof_profile_add(profile, value, skip) \
    CPROF_CALL(cprof_profile_add, 0, (profile, value, skip))
#define cprof_profile_remove(profile, value) \
    CPROF_CALL(cprof_profile_remove, (void)0, (profile, value))
#define cprof_profile_write(profile, fd, debug) \
    CPROF_CALL(cprof_profile_write, ENOSYS, (profile, fd, debug))
#endif

#ifdef __cplusplus
}
#endif

#endif
