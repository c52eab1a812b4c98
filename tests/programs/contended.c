/* Threads that make each other wait, by a script; prints what they measured themselves.
 *
 * script               a 20 ms holder, a 5 ms holder and quick ones: `function charged_ns` per line
 * waiters N D          N threads wait while one holds it D ms: `waited wall_ns`
 * all                  every kind of lock, timed ones that give up, conditions: `ok`
 * mixed N              N waits of many lengths, by a list that is always the same: sums for the sampler's error
 * given-up             writers and lockers that gave up before the release: `waited_ns` */
#include <sched.h>

#include "waiting.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* A waiter that locks when it is told to, and says since when it waits. */
static pthread_barrier_t turn;
static _Atomic pid_t waiter_tid;
static _Atomic int64_t waits_since;
static bool is_over;
static int64_t waited_ns;

NAMED static void waits_for_it(void)
{
    const int64_t start = now_ns();
    atomic_store(&waits_since, start);
    pthread_mutex_lock(&mutex);
    waited_ns += now_ns() - start;
    pthread_mutex_unlock(&mutex);
}

static void *waiter_main(void *unused)
{
    atomic_store(&waiter_tid, (pid_t)syscall(SYS_gettid));
    for (;;) {
        pthread_barrier_wait(&turn);
        if (is_over)
            return unused;
        waits_for_it();
        pthread_barrier_wait(&turn);
    }
}

/* The mutex's word says that somebody waits, or is about to. */
static bool is_awaited(void)
{
    return *(volatile int *)&mutex == 2;
}

/* Holds it until the other one has waited for `ns`; what it waited. */
static inline __attribute__((always_inline)) int64_t hold(int64_t ns)
{
    pthread_mutex_lock(&mutex);
    pthread_barrier_wait(&turn);
    while (!is_awaited())
        sched_yield();
    const int64_t since = atomic_load(&waits_since);
    if (ns > 1000000)
        sleep_until(since + ns);
    else
        spin_until(since + ns);
    const int64_t waited = now_ns() - since;
    pthread_mutex_unlock(&mutex);
    pthread_barrier_wait(&turn);
    return waited;
}

NAMED int64_t holds_20ms(void)
{
    return hold(20000000);
}
NAMED int64_t holds_5ms(void)
{
    return hold(5000000);
}
NAMED int64_t holds_quickly(void)
{
    return hold(200000);
}
NAMED int64_t holds_as_listed(int64_t ns)
{
    return hold(ns);
}

static pthread_t start_waiter(void)
{
    pthread_t thread;
    pthread_barrier_init(&turn, NULL, 2);
    check(!pthread_create(&thread, NULL, waiter_main, NULL), "pthread_create");
    return thread;
}
static void end_waiter(pthread_t thread)
{
    is_over = true;
    pthread_barrier_wait(&turn);
    pthread_join(thread, NULL);
}

static void script(void)
{
    const pthread_t thread = start_waiter();
    int64_t of_20ms = 0, of_5ms = 0, quickly = 0;
    for (int i = 0; i < 10; i++) {
        of_20ms += holds_20ms();
        for (int k = 0; k < 3; k++)
            of_5ms += holds_5ms();
        for (int k = 0; k < 20; k++)
            quickly += holds_quickly();
    }
    end_waiter(thread);
    printf("holds_20ms %ld\nholds_5ms %ld\nholds_quickly %ld\n", of_20ms, of_5ms, quickly);
}

/* Sums of d, of d^2, and of d * (R - d) for d < R = 100 us: from which the sampler's variance follows. */
static void mixed(int n)
{
    enum { RATE = 100000 };
    const pthread_t thread = start_waiter();
    uint64_t random = 88172645463325252;
    double sum = 0, squares = 0, variance = 0;
    for (int i = 0; i < n; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        const int64_t lengths[] = {0, 10000, 20000, 50000, 90000, 150000, 700000};
        const double d = (double)holds_as_listed(lengths[random % 7]);
        sum += d;
        squares += d * d;
        variance += d < RATE ? d * (RATE - d) : 0;
    }
    end_waiter(thread);
    printf("%d %.0f %.0f %.0f %ld\n", n, sum, squares, variance, waited_ns);
}

/* ---- many waiters ---- */

static _Atomic pid_t tids[64];

NAMED void passes_on(int i)
{
    atomic_store(&tids[i], (pid_t)syscall(SYS_gettid));
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}
static void *passes_on_main(void *i)
{
    passes_on((int)(intptr_t)i);
    return NULL;
}

static void waiters(int n, int64_t hold_ns)
{
    pthread_t threads[64];
    pthread_mutex_lock(&mutex);
    const int64_t start = now_ns();
    for (int i = 0; i < n; i++)
        check(!pthread_create(&threads[i], NULL, passes_on_main, (void *)(intptr_t)i),
              "pthread_create");
    for (int i = 0; i < n; i++)
        await_waiting(&tids[i]);
    sleep_until(now_ns() + hold_ns);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    printf("%ld\n", now_ns() - start);
}

/* ---- every kind ---- */

enum { N_MUTEXES = 6, N_ROUNDS = 1500, N_THREADS = 4 };
static pthread_mutex_t mutexes[N_MUTEXES];
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void make_mutexes(void)
{
    static const int types[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
                                PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP};
    for (int i = 0; i < N_MUTEXES; i++) {
        pthread_mutexattr_t attr;
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_settype(&attr, i < 4 ? types[i] : PTHREAD_MUTEX_NORMAL);
        if (i == 4)
            pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        if (i == 5)
            pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
        check(!pthread_mutex_init(&mutexes[i], &attr), "pthread_mutex_init");
    }
}

static int lock_somehow(pthread_mutex_t *m, unsigned how)
{
    const struct timespec real = after_ns(CLOCK_REALTIME, 60000),
                          mono = after_ns(CLOCK_MONOTONIC, 60000);
    switch (how % 4) {
    case 0: return pthread_mutex_timedlock(m, &real);
    case 1: return pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &mono);
    default: return pthread_mutex_lock(m);
    }
}

static int lock_rwlock(unsigned how)
{
    const struct timespec real = after_ns(CLOCK_REALTIME, 60000),
                          mono = after_ns(CLOCK_MONOTONIC, 60000);
    switch (how % 8) {
    case 0: return pthread_rwlock_timedwrlock(&rwlock, &real);
    case 1: return pthread_rwlock_clockwrlock(&rwlock, CLOCK_MONOTONIC, &mono);
    case 2: return pthread_rwlock_timedrdlock(&rwlock, &real);
    case 3: return pthread_rwlock_clockrdlock(&rwlock, CLOCK_MONOTONIC, &mono);
    case 4: return pthread_rwlock_wrlock(&rwlock);
    default: return pthread_rwlock_rdlock(&rwlock);
    }
}

static void *all_main(void *seed)
{
    uint64_t random = (uint64_t)(intptr_t)seed;
    for (int i = 0; i < N_ROUNDS; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        const unsigned how = (unsigned)(random >> 20) % 1024;
        const int64_t hold_ns = (int64_t)(random >> 40) % 100000;
        pthread_mutex_t *m = &mutexes[random % N_MUTEXES];
        if (i % 3 == 0) {
            if (lock_rwlock(how) == 0) {
                spin_until(now_ns() + hold_ns);
                pthread_rwlock_unlock(&rwlock);
            }
        } else if (lock_somehow(m, how) == 0) {
            spin_until(now_ns() + hold_ns);
            const struct timespec until = after_ns(CLOCK_REALTIME, 100000);
            if (i % 7 == 0)
                pthread_cond_timedwait(&cond, m, &until);
            pthread_mutex_unlock(m);
        }
    }
    return NULL;
}

static void all(void)
{
    pthread_t threads[N_THREADS];
    make_mutexes();
    for (int i = 0; i < N_THREADS; i++)
        check(!pthread_create(&threads[i], NULL, all_main, (void *)(intptr_t)(i * 7919 + 1)),
              "pthread_create");
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    puts("ok");
}

/* ---- gave up before the release ---- */

static int64_t given_up_ns;

static void *gives_up_writing(void *unused)
{
    const int64_t start = now_ns();
    const struct timespec until = after_ns(CLOCK_MONOTONIC, 20000000);
    check(pthread_rwlock_clockwrlock(&rwlock, CLOCK_MONOTONIC, &until) == ETIMEDOUT,
          "clockwrlock");
    given_up_ns += now_ns() - start;
    return unused;
}
static void *gives_up_locking(void *unused)
{
    const int64_t start = now_ns();
    const struct timespec until = after_ns(CLOCK_MONOTONIC, 20000000);
    check(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &until) == ETIMEDOUT, "clocklock");
    given_up_ns += now_ns() - start;
    return unused;
}
static void in_thread(void *(*work)(void *))
{
    pthread_t thread;
    check(!pthread_create(&thread, NULL, work, NULL), "pthread_create");
    pthread_join(thread, NULL);
}

NAMED void reads_while_one_gives_up(void)
{
    pthread_rwlock_rdlock(&rwlock);
    in_thread(gives_up_writing);
    pthread_rwlock_unlock(&rwlock);
}
NAMED void holds_while_one_gives_up(void)
{
    pthread_mutex_lock(&mutex);
    in_thread(gives_up_locking);
    pthread_mutex_unlock(&mutex);
}

/* Its owner has died; the next one does not repair it, and those that wait learn that nobody can have it. */
static pthread_mutex_t robust;

static void *dies_with_it(void *unused)
{
    pthread_mutex_lock(&robust);
    return unused;
}
static _Atomic pid_t hopeful_tid;
static void *hopes_for_it(void *unused)
{
    const int64_t start = now_ns();
    atomic_store(&hopeful_tid, (pid_t)syscall(SYS_gettid));
    check(pthread_mutex_lock(&robust) == ENOTRECOVERABLE, "not recoverable");
    given_up_ns += now_ns() - start;
    return unused;
}
NAMED void gives_it_up_for_good(void)
{
    pthread_mutexattr_t attr;
    pthread_t thread;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attr);
    in_thread(dies_with_it);
    check(pthread_mutex_lock(&robust) == EOWNERDEAD, "owner dead");
    check(!pthread_create(&thread, NULL, hopes_for_it, NULL), "pthread_create");
    await_waiting(&hopeful_tid);
    sleep_until(now_ns() + 20000000);
    pthread_mutex_unlock(&robust);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "script"))
        script();
    else if (!strcmp(what, "waiters") && argc > 3)
        waiters(atoi(argv[2]), atoi(argv[3]) * 1000000ll);
    else if (!strcmp(what, "mixed") && argc > 2)
        mixed(atoi(argv[2]));
    else if (!strcmp(what, "all"))
        all();
    else if (!strcmp(what, "given-up")) {
        reads_while_one_gives_up();
        holds_while_one_gives_up();
        gives_it_up_for_good();
        printf("%ld\n", given_up_ns);
    }
    return 0;
}
