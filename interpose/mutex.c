/* mutex - locking and unlocking, POSIX and C11.
 *
 * The uncontended path reads the lock's word (lockwords.h) and jumps on: only the real function ever locks, so
 * all kinds of mutexes keep their semantics.  A lock that is held by another thread is measured around the
 * real call; an unlock for which others wait asks what its holder owes, unlocks, and only then takes
 * its stack.  After the unlock the mutex may be gone: it is not touched again. */
#include "interpose/mutex.h"

#include <errno.h>
#include <pthread.h>
#include <threads.h>

#include "agent/contention.h"
#include "agent/lockwords.h"
#include "base/bypass.h"
#include "base/compiler.h"
#include "base/real.h"

/* ---- locking ---- */

enum how { LOCK, TIMEDLOCK, CLOCKLOCK, MTX_LOCK, MTX_TIMEDLOCK };

struct call {
    enum how how;
    clockid_t clock;
    const struct timespec *until;
};

static int call_real(pthread_mutex_t *mutex, const struct call *call)
{
    switch (call->how) {
    case TIMEDLOCK: return real.pthread_mutex_timedlock(mutex, call->until);
    case CLOCKLOCK: return real.pthread_mutex_clocklock(mutex, call->clock, call->until);
    case MTX_LOCK: return real.mtx_lock((mtx_t *)mutex);
    case MTX_TIMEDLOCK: return real.mtx_timedlock((mtx_t *)mutex, call->until);
    default: return real.pthread_mutex_lock(mutex);
    }
}

static enum contention_result result_of(int err, const struct call *call)
{
    const bool is_c11 = call->how == MTX_LOCK || call->how == MTX_TIMEDLOCK;

    if (err == 0 || (!is_c11 && (err == EOWNERDEAD || err == ENOTRECOVERABLE)))
        return CONTENTION_GOT_IT; /* a release ended it */
    return err == (is_c11 ? (int)thrd_timedout : ETIMEDOUT) ? CONTENTION_GAVE_UP
                                                            : CONTENTION_FAILED;
}

static NOINLINE int lock_held(pthread_mutex_t *mutex, struct call call)
{
    struct contention wait;

    if (mutex_is_free(mutex) ||
        (mutex_knows_owner(mutex) && mutex_is_owned_by(mutex, contention_tid())))
        return call_real(mutex, &call);
    contention_begin(&wait, WAIT_MUTEX, mutex);
    const int err = call_real(mutex, &call);
    contention_end(&wait, result_of(err, &call));
    return err;
}

EXPORT HOT int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (likely(mutex_seems_free(mutex)))
        return real.pthread_mutex_lock(mutex);
    return lock_held(mutex, (struct call){.how = LOCK});
}

EXPORT int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
{
    if (likely(mutex_seems_free(mutex)))
        return real.pthread_mutex_timedlock(mutex, until);
    return lock_held(mutex, (struct call){.how = TIMEDLOCK, .until = until});
}

EXPORT int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock,
                                   const struct timespec *until)
{
    if (likely(mutex_seems_free(mutex)))
        return real.pthread_mutex_clocklock(mutex, clock, until);
    return lock_held(mutex, (struct call){.how = CLOCKLOCK, .clock = clock, .until = until});
}

EXPORT int mtx_lock(mtx_t *mutex)
{
    if (likely(mutex_seems_free((pthread_mutex_t *)mutex)))
        return real.mtx_lock(mutex);
    return lock_held((pthread_mutex_t *)mutex, (struct call){.how = MTX_LOCK});
}

EXPORT int mtx_timedlock(mtx_t *mutex, const struct timespec *until)
{
    if (likely(mutex_seems_free((pthread_mutex_t *)mutex)))
        return real.mtx_timedlock(mutex, until);
    return lock_held((pthread_mutex_t *)mutex,
                     (struct call){.how = MTX_TIMEDLOCK, .until = until});
}

/* ---- unlocking ---- */

static bool is_release(const pthread_mutex_t *mutex)
{
    return !mutex_knows_owner(mutex) ||
           (mutex_is_owned_by(mutex, contention_tid()) && !mutex_is_nested(mutex));
}

int64_t mutex_charge(const pthread_mutex_t *mutex)
{
    return contention_is_awaited(mutex) && is_release(mutex) ? contention_charge(mutex) : 0;
}

static NOINLINE int unlock_awaited(pthread_mutex_t *mutex)
{
    const int64_t charge_ns = mutex_charge(mutex);
    const int err = real.pthread_mutex_unlock(mutex);

    contention_on_release(charge_ns);
    return err;
}

static NOINLINE int mtx_unlock_awaited(mtx_t *mutex)
{
    const int64_t charge_ns = mutex_charge((pthread_mutex_t *)mutex);
    const int err = real.mtx_unlock(mutex);

    contention_on_release(charge_ns);
    return err;
}

EXPORT HOT int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if (likely(mutex_seems_unawaited(mutex)))
        return real.pthread_mutex_unlock(mutex);
    return unlock_awaited(mutex);
}

EXPORT int mtx_unlock(mtx_t *mutex)
{
    if (likely(mutex_seems_unawaited((pthread_mutex_t *)mutex)))
        return real.mtx_unlock(mutex);
    return mtx_unlock_awaited(mutex);
}

/* Names that glibc has for its own libraries. */
SAME_AS(pthread_mutex_lock) __typeof__(pthread_mutex_lock) __pthread_mutex_lock;
SAME_AS(pthread_mutex_unlock) __typeof__(pthread_mutex_unlock) __pthread_mutex_unlock;

BYPASS(pthread_mutex_lock);
BYPASS(pthread_mutex_unlock);
