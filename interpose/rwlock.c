/* rwlock - readers and writers.
 *
 * A reader waits while a writer holds the lock or is next; a writer waits for anybody.  Charged is the unlock that
 * lets others in: the writer's, or the last reader's.  See mutex.c. */
#include <errno.h>
#include <pthread.h>

#include "agent/contention.h"
#include "agent/lockwords.h"
#include "base/bypass.h"
#include "base/compiler.h"
#include "base/real.h"

enum how { READ, TIMED_READ, CLOCK_READ, WRITE, TIMED_WRITE, CLOCK_WRITE };

struct call {
    enum how how;
    clockid_t clock;
    const struct timespec *until;
};

static int call_real(pthread_rwlock_t *rwlock, const struct call *call)
{
    switch (call->how) {
    case TIMED_READ: return real.pthread_rwlock_timedrdlock(rwlock, call->until);
    case CLOCK_READ: return real.pthread_rwlock_clockrdlock(rwlock, call->clock, call->until);
    case WRITE: return real.pthread_rwlock_wrlock(rwlock);
    case TIMED_WRITE: return real.pthread_rwlock_timedwrlock(rwlock, call->until);
    case CLOCK_WRITE: return real.pthread_rwlock_clockwrlock(rwlock, call->clock, call->until);
    default: return real.pthread_rwlock_rdlock(rwlock);
    }
}

static NOINLINE int lock_held(pthread_rwlock_t *rwlock, struct call call)
{
    struct contention wait;

    contention_begin(&wait, WAIT_RWLOCK, rwlock);
    const int err = call_real(rwlock, &call);
    contention_end(&wait, err == 0           ? CONTENTION_GOT_IT
                          : err == ETIMEDOUT ? CONTENTION_GAVE_UP
                                             : CONTENTION_FAILED);
    return err;
}

EXPORT int pthread_rwlock_rdlock(pthread_rwlock_t *rwlock)
{
    if (likely(!rwlock_has_writer(rwlock)))
        return real.pthread_rwlock_rdlock(rwlock);
    return lock_held(rwlock, (struct call){.how = READ});
}

EXPORT int pthread_rwlock_timedrdlock(pthread_rwlock_t *rwlock, const struct timespec *until)
{
    if (likely(!rwlock_has_writer(rwlock)))
        return real.pthread_rwlock_timedrdlock(rwlock, until);
    return lock_held(rwlock, (struct call){.how = TIMED_READ, .until = until});
}

EXPORT int pthread_rwlock_clockrdlock(pthread_rwlock_t *rwlock, clockid_t clock,
                                      const struct timespec *until)
{
    if (likely(!rwlock_has_writer(rwlock)))
        return real.pthread_rwlock_clockrdlock(rwlock, clock, until);
    return lock_held(rwlock, (struct call){.how = CLOCK_READ, .clock = clock, .until = until});
}

EXPORT int pthread_rwlock_wrlock(pthread_rwlock_t *rwlock)
{
    if (likely(rwlock_is_free(rwlock)))
        return real.pthread_rwlock_wrlock(rwlock);
    return lock_held(rwlock, (struct call){.how = WRITE});
}

EXPORT int pthread_rwlock_timedwrlock(pthread_rwlock_t *rwlock, const struct timespec *until)
{
    if (likely(rwlock_is_free(rwlock)))
        return real.pthread_rwlock_timedwrlock(rwlock, until);
    return lock_held(rwlock, (struct call){.how = TIMED_WRITE, .until = until});
}

EXPORT int pthread_rwlock_clockwrlock(pthread_rwlock_t *rwlock, clockid_t clock,
                                      const struct timespec *until)
{
    if (likely(rwlock_is_free(rwlock)))
        return real.pthread_rwlock_clockwrlock(rwlock, clock, until);
    return lock_held(rwlock, (struct call){.how = CLOCK_WRITE, .clock = clock, .until = until});
}

static NOINLINE int unlock_awaited(pthread_rwlock_t *rwlock)
{
    const bool is_charged =
        contention_is_awaited(rwlock) && rwlock_is_released_by(rwlock, contention_tid());
    const int64_t charge_ns = is_charged ? contention_charge(rwlock) : 0;
    const int err = real.pthread_rwlock_unlock(rwlock);

    contention_on_release(charge_ns);
    return err;
}

/* Whoever is waited for, a writer waits or holds it; but one that gave up leaves no trace in the word. */
EXPORT int pthread_rwlock_unlock(pthread_rwlock_t *rwlock)
{
    if (likely(!rwlock_has(rwlock, load_relaxed(&contention_rwlock_bits))))
        return real.pthread_rwlock_unlock(rwlock);
    return unlock_awaited(rwlock);
}

/* Names that glibc has for its own libraries. */
SAME_AS(pthread_rwlock_rdlock) __typeof__(pthread_rwlock_rdlock) __pthread_rwlock_rdlock;
SAME_AS(pthread_rwlock_wrlock) __typeof__(pthread_rwlock_wrlock) __pthread_rwlock_wrlock;
SAME_AS(pthread_rwlock_unlock) __typeof__(pthread_rwlock_unlock) __pthread_rwlock_unlock;

BYPASS(pthread_rwlock_rdlock);
BYPASS(pthread_rwlock_wrlock);
BYPASS(pthread_rwlock_unlock);
