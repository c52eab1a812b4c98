/* holders - how long others have been waiting for a lock, so that its holder can be charged at the unlock.
 *
 * A bucket of one cache line per lock address (hashed), used only while somebody waits.  It holds n waiters and
 * S, the sum of the times from which each of them counts.  A release at the time u charges
 * C = n*u - S to the holder and sets S = n*u: everybody's waiting is paid up to u.  A waiter that got the
 * lock at t1 takes its own term s = max(start, last release) out; t1 - s is nobody's fault, it is the
 * wake-up.  One that gave up takes t1 out instead: what it waited since s is left to the next release.
 * So, exactly:   sum of charges + sum of wake-ups = sum of waiting times.
 *
 * Times in a bucket never step back: one that was read before another thread's is raised to it, and the
 * difference counts as wake-up.  A second lock in an occupied bucket is not followed; nor is a wait whose
 * bucket stays busy: both are told to the caller, who counts them.
 *
 * Bucket locks are leaf locks, tried for a bounded time, held for some twenty instructions.  A signal handler
 * that interrupts one finds it busy.  A leave that finds it busy too long is put down as late, to
 * be booked by the next one who has the lock.  After fork a bucket starts anew.
 *
 * Any thread, signal-safe. */
#ifndef CPROF_AGENT_HOLDERS_H
#define CPROF_AGENT_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/lock.h"

enum { HOLDERS_BUCKET_BITS = 12 };

#define HOLDERS_LATE_BEGUN (1ull << 32)
#define HOLDERS_LATE_DONE  1ull

struct ALIGNED(64) holders_bucket {
    struct lock lock;
    int pid;              /* whose waiters these are */
    _Atomic uintptr_t of; /* the lock */
    _Atomic uint64_t n;   /* waiters */
    _Atomic uint64_t
        sum_ns;        /* S, modulo 2^64; below 0 without waiters: owed by the next release */
    int64_t last_ns;   /* release */
    int64_t latest_ns; /* of all times seen */
    _Atomic uint64_t late;    /* leaves not booked yet: begun : 32 | done : 32 */
    _Atomic uint64_t late_ns; /* and their terms */
};

HIDDEN extern struct holders_bucket holders_buckets[1 << HOLDERS_BUCKET_BITS];

static inline struct holders_bucket *holders_bucket_of(const volatile void *lock)
{
    const uint64_t mixed = (uint64_t)(uintptr_t)lock * 0x9e3779b97f4a7c15;

    return &holders_buckets[mixed >> (64 - HOLDERS_BUCKET_BITS)];
}

/* False: surely nobody waits for `lock` that holders_enter() was told of. */
static inline bool holders_is_awaited(const volatile void *lock)
{
    const struct holders_bucket *bucket = holders_bucket_of(lock);

    return load_relaxed(&bucket->of) == (uintptr_t)lock &&
           (load_relaxed(&bucket->n) || load_relaxed(&bucket->sum_ns));
}

/* Begins to wait at `now_ns`.  Returns the waiter's term, or -EBUSY: not followed, and holders_leave() must
 * not be called.  *nobodys_ns grows by what no release will be charged with. */
int64_t holders_enter(const volatile void *lock, int64_t now_ns, int64_t *nobodys_ns);

/* Ends it.  `got_it`: with the lock; else what is due stays for the next release. */
void holders_leave(const volatile void *lock, int64_t term_ns, int64_t now_ns, bool got_it,
                   int64_t *nobodys_ns);

/* The lock is about to be released: the time that others have waited since the last release.  0
 * where the bucket is busy: the next release pays for both. */
int64_t holders_release(const volatile void *lock, int64_t now_ns);

#endif
