/* wait - conditions, semaphores, barriers, threads that are joined: everything that waits and is no lock.
 *
 * Most of these are cancellation points: contention_unwound() ends the measurement of a thread that is cancelled while
 * it waits.  A condition's waiter releases its mutex first and is charged for having held it.
 *
 * pthread_cond_wait and _timedwait have the version GLIBC_2.3.2 (libcprof.map): callers of the older ones, whose
 * condition is another object, go to libc. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <threads.h>

#include "agent/contention.h"
#include "base/compiler.h"
#include "base/real.h"
#include "interpose/mutex.h"

static enum contention_result result_of(int err)
{
    if (err == 0)
        return CONTENTION_GOT_IT;
    return err == ETIMEDOUT || err == EINTR ? CONTENTION_GAVE_UP : CONTENTION_FAILED;
}

static enum contention_result result_of_c11(int err)
{
    return err == thrd_success    ? CONTENTION_GOT_IT
           : err == thrd_timedout ? CONTENTION_GAVE_UP
                                  : CONTENTION_FAILED;
}

/* `result` says of `err` how the call ended. */
#define MEASURED(kind, call, result) \
    do { \
        struct contention wait; \
        contention_begin(&wait, kind, NULL); \
        err = call; \
        contention_end(&wait, result); \
    } while (0)
#define MEASURED_CONDITION(mutex, call, result) \
    do { \
        struct contention wait; \
        contention_begin(&wait, WAIT_COND, NULL); \
        if (wait.start_ns) \
            wait.charge_ns = mutex_charge(mutex); \
        err = call; \
        contention_end(&wait, result); \
    } while (0)

/* ---- conditions ---- */

EXPORT int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    int err;

    MEASURED_CONDITION(mutex, real.pthread_cond_wait(cond, mutex), result_of(err));
    return err;
}

EXPORT int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    int err;

    MEASURED_CONDITION(mutex, real.pthread_cond_timedwait(cond, mutex, until), result_of(err));
    return err;
}

EXPORT int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
                                  const struct timespec *until)
{
    int err;

    MEASURED_CONDITION(mutex, real.pthread_cond_clockwait(cond, mutex, clock, until),
                       result_of(err));
    return err;
}

EXPORT int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    int err;

    MEASURED_CONDITION((pthread_mutex_t *)mutex, real.cnd_wait(cond, mutex),
                       result_of_c11(err));
    return err;
}

EXPORT int cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *until)
{
    int err;

    MEASURED_CONDITION((pthread_mutex_t *)mutex, real.cnd_timedwait(cond, mutex, until),
                       result_of_c11(err));
    return err;
}

/* ---- semaphores: one that is not 0 is the real function's, which tests for cancellation too ---- */

static bool is_positive(sem_t *semaphore)
{
    int value;

    return sem_getvalue(semaphore, &value) == 0 && value > 0;
}

EXPORT int sem_wait(sem_t *semaphore)
{
    int err;

    if (is_positive(semaphore))
        return real.sem_wait(semaphore);
    MEASURED(WAIT_SEM, real.sem_wait(semaphore), result_of(err ? errno : 0));
    return err;
}

EXPORT int sem_timedwait(sem_t *semaphore, const struct timespec *until)
{
    int err;

    if (is_positive(semaphore))
        return real.sem_timedwait(semaphore, until);
    MEASURED(WAIT_SEM, real.sem_timedwait(semaphore, until), result_of(err ? errno : 0));
    return err;
}

EXPORT int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    int err;

    if (is_positive(semaphore))
        return real.sem_clockwait(semaphore, clock, until);
    MEASURED(WAIT_SEM, real.sem_clockwait(semaphore, clock, until), result_of(err ? errno : 0));
    return err;
}

/* ---- barriers: no cancellation point ---- */

EXPORT int pthread_barrier_wait(pthread_barrier_t *barrier)
{
    struct contention wait;

    contention_begin(&wait, WAIT_BARRIER, NULL);
    const int err = real.pthread_barrier_wait(barrier);
    contention_end(&wait, err == 0 || err == PTHREAD_BARRIER_SERIAL_THREAD ? CONTENTION_GOT_IT
                                                                           : CONTENTION_FAILED);
    return err;
}

/* ---- threads ---- */

EXPORT int pthread_join(pthread_t thread, void **ret_value)
{
    int err;

    MEASURED(WAIT_JOIN, real.pthread_join(thread, ret_value), result_of(err));
    return err;
}

EXPORT int pthread_timedjoin_np(pthread_t thread, void **ret_value,
                                const struct timespec *until)
{
    int err;

    MEASURED(WAIT_JOIN, real.pthread_timedjoin_np(thread, ret_value, until), result_of(err));
    return err;
}

EXPORT int pthread_clockjoin_np(pthread_t thread, void **ret_value, clockid_t clock,
                                const struct timespec *until)
{
    int err;

    MEASURED(WAIT_JOIN, real.pthread_clockjoin_np(thread, ret_value, clock, until),
             result_of(err));
    return err;
}

EXPORT int thrd_join(thrd_t thread, int *ret_value)
{
    int err;

    MEASURED(WAIT_JOIN, real.thrd_join(thread, ret_value), result_of_c11(err));
    return err;
}
