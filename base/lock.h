/* lock - leaf locks of the agent, and their whole order.
 *
 * The paths that run on the program's threads are lock-free.  What is left are jobs of which one
 * at a time is enough: they try, and when the lock is taken they leave a request behind.  Nobody
 * ever waits, so no lock can deadlock with the program, with a signal handler or with itself.  (The exit
 * tries again for a bounded time: trigger.c.)
 *
 * A lock remembers its holder's process: in a forked child a lock that another thread held in the
 * parent counts as free.
 *
 * The order (left before right):    snapshot    bucket (holders.h)    agent thread (its start)    heap rate
 *
 * Any thread, signal-safe. */
#ifndef CPROF_BASE_LOCK_H
#define CPROF_BASE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"

struct LOCKABLE lock {
    _Atomic int holder_pid; /* 0: free */
};

/* `pid` is the caller's process (process_pid()). */
static inline bool lock_try(struct lock *lock, int pid) TRY_ACQUIRES(true, *lock) UNCHECKED
{
    int holder = load_relaxed(&lock->holder_pid);

    return holder != pid && cas_acq_rel(&lock->holder_pid, &holder, pid); /* pairs with drop */
}

static inline void lock_drop(struct lock *lock) RELEASES(*lock) UNCHECKED
{
    store_release(&lock->holder_pid, 0); /* pairs with lock_try */
}

#endif
