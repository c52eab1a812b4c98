/* Threads that are cancelled, or exit, while they wait in every way; prints what is left of them. */
#include <linux/futex.h>
#include <sched.h>
#include <semaphore.h>
#include <threads.h>

#include "waiting.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static pthread_t sleeper;
static pthread_key_t key;
static _Atomic pid_t victim_tid;
static struct timespec real_later, mono_later;
static int n_cleanups, n_destructors;

static mtx_t c11_mutex;
static cnd_t c11_cond;

static void cleanup_c11(void *unused)
{
    (void)unused;
    n_cleanups++;
    mtx_unlock(&c11_mutex);
}
static void cleanup(void *locked)
{
    n_cleanups++;
    if (locked)
        pthread_mutex_unlock(&mutex);
}
static void destructor(void *unused)
{
    (void)unused;
    n_destructors++;
}

NAMED void in_cond_wait(void)
{
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(cleanup, "locked");
    pthread_cond_wait(&cond, &mutex);
    pthread_cleanup_pop(0);
}
NAMED void in_cond_timedwait(void)
{
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(cleanup, "locked");
    pthread_cond_timedwait(&cond, &mutex, &real_later);
    pthread_cleanup_pop(0);
}
NAMED void in_cond_clockwait(void)
{
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(cleanup, "locked");
    pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &mono_later);
    pthread_cleanup_pop(0);
}
NAMED void in_cnd_wait(void)
{
    mtx_lock(&c11_mutex);
    pthread_cleanup_push(cleanup_c11, NULL);
    cnd_wait(&c11_cond, &c11_mutex);
    pthread_cleanup_pop(0);
}
NAMED void in_cnd_timedwait(void)
{
    mtx_lock(&c11_mutex);
    pthread_cleanup_push(cleanup_c11, NULL);
    cnd_timedwait(&c11_cond, &c11_mutex, &real_later);
    pthread_cleanup_pop(0);
}
#define WAY(name, call) \
    NAMED void in_##name(void) \
    { \
        pthread_cleanup_push(cleanup, NULL); \
        call; \
        pthread_cleanup_pop(0); \
    }
WAY(sem_wait, sem_wait(&semaphore))
WAY(sem_timedwait, sem_timedwait(&semaphore, &real_later))
WAY(sem_clockwait, sem_clockwait(&semaphore, CLOCK_MONOTONIC, &mono_later))
WAY(join, pthread_join(sleeper, NULL))
WAY(timedjoin, pthread_timedjoin_np(sleeper, NULL, &real_later))
WAY(clockjoin, pthread_clockjoin_np(sleeper, NULL, CLOCK_MONOTONIC, &mono_later))
WAY(thrd_join, thrd_join(sleeper, NULL))

/* No cancellation points; what they leave of their lock is not used again, but for the mutex. */
#define ANYWHERE(name, call) \
    WAY(name, pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL); call)
static pthread_rwlock_t read_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_rwlock_t write_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static int word;

ANYWHERE(locked_mutex, pthread_mutex_lock(&mutex))
ANYWHERE(timedlocked_mutex, pthread_mutex_timedlock(&mutex, &real_later))
ANYWHERE(locked_c11, mtx_lock(&c11_mutex))
ANYWHERE(read_rwlock, pthread_rwlock_rdlock(&write_lock))
ANYWHERE(written_rwlock, pthread_rwlock_wrlock(&read_lock))
ANYWHERE(barrier, pthread_barrier_wait(&barrier))
ANYWHERE(futex, syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL))

/* Left by pthread_exit() in a handler. */
static void exits(int number)
{
    (void)number;
    pthread_exit(PTHREAD_CANCELED);
}
WAY(interrupted_mutex, signal(SIGUSR1, exits); pthread_mutex_lock(&mutex))

static void *victim_main(void *way)
{
    pthread_setspecific(key, "");
    atomic_store(&victim_tid, (pid_t)syscall(SYS_gettid));
    ((void (*)(void))(uintptr_t)way)();
    return NULL;
}
static void *sleeper_main(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void interrupt(pthread_t thread)
{
    pthread_kill(thread, SIGUSR1);
}
static void cancel(pthread_t thread)
{
    pthread_cancel(thread);
}

static void leave_in(const char *name, void (*way)(void), void (*make_leave)(pthread_t thread))
{
    pthread_t thread;
    void *result;
    n_cleanups = n_destructors = 0;
    atomic_store(&victim_tid, 0);
    check(!pthread_create(&thread, NULL, victim_main, (void *)(uintptr_t)way),
          "pthread_create");
    await_waiting(&victim_tid);
    const int64_t start = now_ns();
    sleep_until(start + 3000000);
    make_leave(thread);
    pthread_join(thread, &result);
    printf("%s: %s, %d cleanups, %d destructors\n", name,
           result == PTHREAD_CANCELED ? "cancelled" : "returned", n_cleanups, n_destructors);
}

/* Cancelled before it waits: the call itself is the point. */
static void *cancels_itself(void *unused)
{
    pthread_cancel(pthread_self());
    pthread_cleanup_push(cleanup, NULL);
    sem_wait(&semaphore); /* positive */
    pthread_cleanup_pop(0);
    return unused;
}
static void *exits_deep(void *unused)
{
    pthread_setspecific(key, "");
    pthread_cleanup_push(cleanup, NULL);
    pthread_exit("exited");
    pthread_cleanup_pop(0);
    return unused;
}

int main(void)
{
    pthread_t thread;
    void *result;
    real_later = after_ns(CLOCK_REALTIME, 300000000000);
    mono_later = after_ns(CLOCK_MONOTONIC, 300000000000);
    sem_init(&semaphore, 0, 0);
    pthread_key_create(&key, destructor);
    check(!pthread_create(&sleeper, NULL, sleeper_main, NULL), "pthread_create");
    check(mtx_init(&c11_mutex, mtx_plain) == thrd_success, "mtx_init");
    check(cnd_init(&c11_cond) == thrd_success, "cnd_init");
#define TRY(name) leave_in(#name, in_##name, cancel)
    TRY(cond_wait);
    TRY(cond_timedwait);
    TRY(cond_clockwait);
    TRY(sem_wait);
    TRY(sem_timedwait);
    TRY(sem_clockwait);
    TRY(join);
    TRY(timedjoin);
    TRY(clockjoin);
    TRY(thrd_join);
    TRY(cnd_wait);
    TRY(cnd_timedwait);
    pthread_mutex_lock(&mutex);
    TRY(locked_mutex);
    TRY(timedlocked_mutex);
    leave_in("interrupted_mutex", in_interrupted_mutex, interrupt);
    printf("unlock: %d\n", pthread_mutex_unlock(&mutex));
    check(mtx_lock(&c11_mutex) == thrd_success, "mtx_lock");
    TRY(locked_c11);
    mtx_unlock(&c11_mutex);
    pthread_rwlock_wrlock(&write_lock);
    TRY(read_rwlock);
    pthread_rwlock_unlock(&write_lock);
    pthread_rwlock_rdlock(&read_lock);
    TRY(written_rwlock);
    pthread_rwlock_unlock(&read_lock);
    pthread_barrier_init(&barrier, NULL, 2);
    TRY(barrier);
    TRY(futex);
    sem_post(&semaphore);
    n_cleanups = 0;
    check(!pthread_create(&thread, NULL, cancels_itself, NULL), "pthread_create");
    pthread_join(thread, &result);
    printf("itself: %s, %d cleanups\n", result == PTHREAD_CANCELED ? "cancelled" : "returned",
           n_cleanups);
    n_cleanups = n_destructors = 0;
    check(!pthread_create(&thread, NULL, exits_deep, NULL), "pthread_create");
    pthread_join(thread, &result);
    printf("exit: %s, %d cleanups, %d destructors\n", (char *)result, n_cleanups,
           n_destructors);
    return 0;
}
