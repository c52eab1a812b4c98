/* holders - see holders.h. */
#include "agent/holders.h"

#include <errno.h>

#include "agent/process.h"

struct holders_bucket holders_buckets[1 << HOLDERS_BUCKET_BITS] LARGE;

enum { TRIES = 200, LEAVE_TRIES = 20000 };

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Only the holder of the bucket's lock writes; others read without it. */
static void add(_Atomic uint64_t *field, uint64_t value)
{
    store_relaxed(field, load_relaxed(field) + value);
}

/* Books the leaves that found the lock busy; while one of them is under way, none: a term without its waiter would
 * look like a wait since the clock's beginning. */
static COLD void book_late(struct holders_bucket *bucket) NEEDS(bucket->lock)
{
    const uint64_t late = load_acquire(&bucket->late); /* pairs with put_late */
    const uint64_t ns = load_acquire(&bucket->late_ns);
    const uint64_t n = late & UINT32_MAX;

    if (late >> 32 != n || load_relaxed(&bucket->late) != late)
        return;
    add_relaxed(&bucket->late_ns, -ns);
    add_relaxed(&bucket->late, -(n * (HOLDERS_LATE_BEGUN + HOLDERS_LATE_DONE)));
    add(&bucket->n, -n);
    add(&bucket->sum_ns, -ns);
}

static COLD void put_late(struct holders_bucket *bucket, uint64_t term_ns)
{
    add_relaxed(&bucket->late, HOLDERS_LATE_BEGUN);
    add_release(&bucket->late_ns, term_ns);
    add_release(&bucket->late, HOLDERS_LATE_DONE);
}

/* In a forked child the waiters are the parent's, who has kept them. */
static COLD void start_anew(struct holders_bucket *bucket, int pid) NEEDS(bucket->lock)
{
    store_relaxed(&bucket->late, 0);
    store_relaxed(&bucket->late_ns, 0);
    store_relaxed(&bucket->n, 0);
    store_relaxed(&bucket->sum_ns, 0);
    bucket->last_ns = bucket->latest_ns = 0;
    bucket->pid = pid;
}

static bool take(struct holders_bucket *bucket, int tries) TRY_ACQUIRES(true, bucket->lock)
{
    const int pid = process_pid();

    while (!lock_try(&bucket->lock, pid)) {
        if (tries-- == 0)
            return false;
        relax();
    }
    if (unlikely(bucket->pid != pid))
        start_anew(bucket, pid);
    if (unlikely(load_relaxed(&bucket->late)))
        book_late(bucket);
    return true;
}

/* `now_ns`, or the latest time in the bucket when that is later. */
static int64_t advance(struct holders_bucket *bucket, int64_t now_ns) NEEDS(bucket->lock)
{
    if (bucket->latest_ns < now_ns)
        bucket->latest_ns = now_ns;
    return bucket->latest_ns;
}

int64_t holders_enter(const volatile void *lock, int64_t now_ns, int64_t *nobodys_ns)
{
    struct holders_bucket *bucket = holders_bucket_of(lock);
    int64_t term_ns = -EBUSY;

    if (!take(bucket, TRIES))
        return -EBUSY;
    if (load_relaxed(&bucket->n) == 0 && load_relaxed(&bucket->of) != (uintptr_t)lock) {
        *nobodys_ns -=
            (int64_t)load_relaxed(&bucket->sum_ns); /* owed for a lock that nobody released */
        store_relaxed(&bucket->of, (uintptr_t)lock);
        store_relaxed(&bucket->sum_ns, 0);
        bucket->last_ns = bucket->latest_ns = 0;
    }
    if (load_relaxed(&bucket->of) == (uintptr_t)lock) {
        term_ns = advance(bucket, now_ns);
        *nobodys_ns += term_ns - now_ns;
        add(&bucket->n, 1);
        add(&bucket->sum_ns, (uint64_t)term_ns);
    }
    lock_drop(&bucket->lock);
    return term_ns;
}

void holders_leave(const volatile void *lock, int64_t term_ns, int64_t now_ns, bool got_it,
                   int64_t *nobodys_ns)
{
    struct holders_bucket *bucket = holders_bucket_of(lock);

    if (unlikely(!take(bucket, LEAVE_TRIES))) {
        put_late(bucket, (uint64_t)term_ns);
        *nobodys_ns += now_ns - term_ns;
        return;
    }
    if (load_relaxed(&bucket->n) != 0 && load_relaxed(&bucket->of) == (uintptr_t)lock) {
        const int64_t since_ns = term_ns > bucket->last_ns ? term_ns : bucket->last_ns;
        const int64_t paid_ns = got_it ? since_ns : advance(bucket, now_ns);
        add(&bucket->n, -(uint64_t)1);
        add(&bucket->sum_ns, -(uint64_t)paid_ns);
        *nobodys_ns += now_ns - paid_ns;
    }
    lock_drop(&bucket->lock);
}

int64_t holders_release(const volatile void *lock, int64_t now_ns)
{
    struct holders_bucket *bucket = holders_bucket_of(lock);
    int64_t charge_ns = 0;

    if (!take(bucket, TRIES))
        return 0;
    if (load_relaxed(&bucket->of) == (uintptr_t)lock) {
        const int64_t release_ns = advance(bucket, now_ns);
        const uint64_t all_ns = load_relaxed(&bucket->n) * (uint64_t)release_ns;
        charge_ns = (int64_t)(all_ns - load_relaxed(&bucket->sum_ns));
        store_relaxed(&bucket->sum_ns, all_ns);
        bucket->last_ns = release_ns;
    }
    lock_drop(&bucket->lock);
    return charge_ns;
}
