/* Waits 20 ms in every way there is, each in a function of its own: `function label least_ns most_ns` per line. */
#include <linux/futex.h>
#include <sched.h>
#include <semaphore.h>
#include <threads.h>

#include "waiting.h"

enum { WAIT_NS = 20000000 };
static const int64_t ENOUGH_NS = 300000000000;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t semaphore;
static mtx_t mtx;
static cnd_t cnd;
static int word, pi_word;
static struct timespec real_later, mono_later;

/* ---- the other thread: takes first, says so, and gives 20 ms after the main thread began to wait ---- */

static void nothing(void)
{
}
static void lock_mutex(void)
{
    pthread_mutex_lock(&mutex);
}
static void unlock_mutex(void)
{
    pthread_mutex_unlock(&mutex);
}
static void lock_read(void)
{
    pthread_rwlock_rdlock(&rwlock);
}
static void lock_write(void)
{
    pthread_rwlock_wrlock(&rwlock);
}
static void unlock_rwlock(void)
{
    pthread_rwlock_unlock(&rwlock);
}
static void signal_cond(void)
{
    pthread_mutex_lock(&mutex);
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
}
static void post(void)
{
    sem_post(&semaphore);
}
static void meet(void)
{
    pthread_barrier_wait(&barrier);
}
static void lock_mtx(void)
{
    mtx_lock(&mtx);
}
static void unlock_mtx(void)
{
    mtx_unlock(&mtx);
}
static void signal_cnd(void)
{
    mtx_lock(&mtx);
    cnd_signal(&cnd);
    mtx_unlock(&mtx);
}
/* Who was stopped (SIGSTOP, a debugger, a frozen container) waits anew, and is not there for a moment. */
static void wake_word(void)
{
    while (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0)
        sched_yield();
}

static void lock_pi(void)
{
    check(!syscall(SYS_futex, &pi_word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), "lock");
}
static void unlock_pi(void)
{
    check(!syscall(SYS_futex, &pi_word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), "unlock");
}
/* Wakes the waiter for `word` as the owner of `pi_word`. */
static void requeue(void)
{
    long n;
    while ((n = syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, NULL, &pi_word,
                        0)) == 0)
        sched_yield();
    check(n == 1, "requeue");
}

/* Newer ones may be missing in <linux/futex.h> (5.14, 5.16) and in the kernel. */
enum { LOCK_PI2_PRIVATE = 13 | FUTEX_PRIVATE_FLAG, NR_WAITV = 449 };
static struct {
    uint64_t value, address;
    uint32_t flags, unused;
} waitv = {0, (uintptr_t)&word, 2 /* 32 bits */ | FUTEX_PRIVATE_FLAG, 0};

static struct partner {
    void (*take)(void), (*give)(void);
    pthread_t thread;
    thrd_t c11_thread;
} partner;
static _Atomic pid_t main_tid;
static _Atomic bool is_taken, may_give;
static int64_t least_ns; /* from where the main thread was seen waiting until it was let go */

static void *partner_main(void *unused)
{
    partner.take();
    atomic_store(&is_taken, true);
    while (!atomic_load(&may_give))
        sched_yield();
    await_waiting(&main_tid);
    const int64_t seen = now_ns();
    sleep_until(seen + WAIT_NS);
    least_ns = now_ns() - seen;
    partner.give();
    return unused;
}
static int c11_partner_main(void *unused)
{
    partner_main(unused);
    return 0;
}

/* ---- the ways ---- */

#define WAY(name, call) \
    NAMED int in_##name(void) \
    { \
        int code = (int)(call); \
        KEEP(code); \
        return code; \
    }
WAY(mutex_lock, pthread_mutex_lock(&mutex))
WAY(mutex_timedlock, pthread_mutex_timedlock(&mutex, &real_later))
WAY(mutex_clocklock, pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &mono_later))
WAY(rdlock, pthread_rwlock_rdlock(&rwlock))
WAY(timedrdlock, pthread_rwlock_timedrdlock(&rwlock, &real_later))
WAY(clockrdlock, pthread_rwlock_clockrdlock(&rwlock, CLOCK_MONOTONIC, &mono_later))
WAY(wrlock, pthread_rwlock_wrlock(&rwlock))
WAY(timedwrlock, pthread_rwlock_timedwrlock(&rwlock, &real_later))
WAY(clockwrlock, pthread_rwlock_clockwrlock(&rwlock, CLOCK_MONOTONIC, &mono_later))
WAY(cond_wait, pthread_cond_wait(&cond, &mutex))
WAY(cond_timedwait, pthread_cond_timedwait(&cond, &mutex, &real_later))
WAY(cond_clockwait, pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &mono_later))
WAY(sem_wait, sem_wait(&semaphore))
WAY(sem_timedwait, sem_timedwait(&semaphore, &real_later))
WAY(sem_clockwait, sem_clockwait(&semaphore, CLOCK_MONOTONIC, &mono_later))
WAY(barrier_wait, pthread_barrier_wait(&barrier) * 0)
WAY(mtx_lock, mtx_lock(&mtx))
WAY(mtx_timedlock, mtx_timedlock(&mtx, &real_later))
WAY(cnd_wait, cnd_wait(&cnd, &mtx))
WAY(cnd_timedwait, cnd_timedwait(&cnd, &mtx, &real_later))
WAY(join, pthread_join(partner.thread, NULL))
WAY(timedjoin, pthread_timedjoin_np(partner.thread, NULL, &real_later))
WAY(clockjoin, pthread_clockjoin_np(partner.thread, NULL, CLOCK_MONOTONIC, &mono_later))
WAY(thrd_join, thrd_join(partner.c11_thread, NULL))
WAY(futex_wait, syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0))
WAY(futex_wait_bitset,
    syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &mono_later, NULL, 1))
WAY(futex_lock_pi, syscall(SYS_futex, &pi_word, FUTEX_LOCK_PI_PRIVATE, 0, &real_later, NULL, 0))
WAY(futex_lock_pi2, syscall(SYS_futex, &pi_word, LOCK_PI2_PRIVATE, 0, &mono_later, NULL, 0))
WAY(futex_wait_requeue_pi,
    syscall(SYS_futex, &word, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, &mono_later, &pi_word, 0))
WAY(futex_waitv, syscall(NR_WAITV, &waitv, 1, 0, &mono_later, CLOCK_MONOTONIC))

enum join { BY_US, BY_WAY, BY_C11_WAY };

static const struct way {
    const char *name, *label;
    int (*wait)(void);
    void (*take)(void), (*give)(void), (*before)(void), (*after)(void);
    enum join join;
} ways[] = {
#define LOCK(name, label, take, give) \
    { \
        "in_" #name, label, in_##name, take, give, nothing, give, BY_US \
    }
#define WAIT(name, label, give, before, after) \
    { \
        "in_" #name, label, in_##name, nothing, give, before, after, BY_US \
    }
#define JOIN(name, join) \
    { \
        "in_" #name, "join", in_##name, nothing, nothing, nothing, nothing, join \
    }
    LOCK(mutex_lock, "mutex", lock_mutex, unlock_mutex),
    LOCK(mutex_timedlock, "mutex", lock_mutex, unlock_mutex),
    LOCK(mutex_clocklock, "mutex", lock_mutex, unlock_mutex),
    LOCK(rdlock, "rwlock", lock_write, unlock_rwlock),
    LOCK(timedrdlock, "rwlock", lock_write, unlock_rwlock),
    LOCK(clockrdlock, "rwlock", lock_write, unlock_rwlock),
    LOCK(wrlock, "rwlock", lock_read, unlock_rwlock),
    LOCK(timedwrlock, "rwlock", lock_write, unlock_rwlock),
    LOCK(clockwrlock, "rwlock", lock_read, unlock_rwlock),
    LOCK(mtx_lock, "mutex", lock_mtx, unlock_mtx),
    LOCK(mtx_timedlock, "mutex", lock_mtx, unlock_mtx),
    WAIT(cond_wait, "cond", signal_cond, lock_mutex, unlock_mutex),
    WAIT(cond_timedwait, "cond", signal_cond, lock_mutex, unlock_mutex),
    WAIT(cond_clockwait, "cond", signal_cond, lock_mutex, unlock_mutex),
    WAIT(cnd_wait, "cond", signal_cnd, lock_mtx, unlock_mtx),
    WAIT(cnd_timedwait, "cond", signal_cnd, lock_mtx, unlock_mtx),
    WAIT(sem_wait, "sem", post, nothing, nothing),
    WAIT(sem_timedwait, "sem", post, nothing, nothing),
    WAIT(sem_clockwait, "sem", post, nothing, nothing),
    WAIT(barrier_wait, "barrier", meet, nothing, nothing),
    WAIT(futex_wait, "futex", wake_word, nothing, nothing),
    WAIT(futex_wait_bitset, "futex", wake_word, nothing, nothing),
    LOCK(futex_lock_pi, "futex", lock_pi, unlock_pi),
    LOCK(futex_lock_pi2, "futex", lock_pi, unlock_pi),
    WAIT(futex_wait_requeue_pi, "futex", requeue, nothing, unlock_pi),
    WAIT(futex_waitv, "futex", wake_word, nothing, nothing),
    JOIN(join, BY_WAY),
    JOIN(timedjoin, BY_WAY),
    JOIN(clockjoin, BY_WAY),
    JOIN(thrd_join, BY_C11_WAY),
};

static bool is_there(const struct way *way)
{
    if (way->wait == in_futex_lock_pi2)
        return syscall(SYS_futex, NULL, LOCK_PI2_PRIVATE, 0, NULL, NULL, 0) && errno != ENOSYS;
    if (way->wait == in_futex_waitv)
        return syscall(NR_WAITV, NULL, 0, 0, NULL, 0) && errno != ENOSYS;
    return true;
}

static void try_way(const struct way *way)
{
    partner.take = way->take;
    partner.give = way->give;
    is_taken = may_give = false;
    if (way->join == BY_C11_WAY)
        check(thrd_create(&partner.c11_thread, c11_partner_main, NULL) == thrd_success,
              "thrd_create");
    else
        check(!pthread_create(&partner.thread, NULL, partner_main, NULL), "pthread_create");
    while (!atomic_load(&is_taken))
        sched_yield();
    way->before();
    real_later = after_ns(CLOCK_REALTIME, ENOUGH_NS);
    mono_later = after_ns(CLOCK_MONOTONIC, ENOUGH_NS);
    atomic_store(&may_give, true);
    const int64_t start = now_ns();
    const int code = way->wait();
    const int64_t waited = now_ns() - start;
    check(code == 0, way->name);
    way->after();
    if (way->join == BY_US)
        pthread_join(partner.thread, NULL);
    printf("%s %s %ld %ld\n", way->name, way->label, least_ns, waited);
}

int main(void)
{
    atomic_store(&main_tid, (pid_t)syscall(SYS_gettid));
    pthread_barrier_init(&barrier, NULL, 2);
    sem_init(&semaphore, 0, 0);
    mtx_init(&mtx, mtx_timed);
    cnd_init(&cnd);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (is_there(&ways[i]))
            try_way(&ways[i]);
        else
            fprintf(stderr, "%s: this kernel has none\n", ways[i].name);
    return 0;
}
