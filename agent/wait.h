/* wait - what a thread record (thread.h) holds for the contention profiles: data only, see contention.h.
 *
 * A wait in progress is written by its thread and read by a snapshot at any moment: `seq` is odd while it
 * lasts, and whoever finds the same odd number before and after has read one wait.  Signal handlers that wait while
 * their thread waits take the next place. */
#ifndef CPROF_AGENT_WAIT_H
#define CPROF_AGENT_WAIT_H

#include <stdint.h>

#include "base/atomic.h"

/* What is waited for: wait(kind, the label's value). */
#define WAIT_KINDS(wait) \
    wait(MUTEX, "mutex") wait(RWLOCK, "rwlock") wait(COND, "cond") wait(SEM, "sem") \
        wait(BARRIER, "barrier") wait(JOIN, "join") wait(FUTEX, "futex")

#define WAIT_ENUM(kind, text) WAIT_##kind,
enum wait_kind { WAIT_KINDS(WAIT_ENUM) N_WAIT_KINDS };
#undef WAIT_ENUM

struct contention;

struct wait {
    _Atomic uint32_t seq;
    _Atomic uint32_t kind;
    _Atomic int64_t start_ns;
    _Atomic uintptr_t pc, sp, bp, bx; /* where its stack begins */
    const volatile void *lock;        /* the owner's: whose holder is followed, NULL: none */
    int64_t term_ns;                  /* the owner's: holders_enter() */
    struct contention *call;          /* the owner's: on the wrapper's stack */
};

/* At most so many stacks are walked in a second; what needs one more is added to the next one. */
struct wait_budget {
    int64_t next_ns;
    _Atomic uint64_t carried_units, carried_ns;
};

enum { WAITS_NESTED = 3 };

/* Only the owner writes. */
struct thread_waits {
    struct wait waits[WAITS_NESTED];
    uint32_t n; /* in progress */
    uint64_t random;
    struct wait_budget mutex, block;
    _Atomic int64_t wakeup_ns; /* waited, by nobody's fault (holders.h) */
};

#endif
