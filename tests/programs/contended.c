/* Threads that make each other wait, by a script; prints what they measured themselves.
 *
 * script               a 20 ms holder, a 5 ms holder and quick ones: `function least_ns most_ns` per line
 * waiters N D          N threads wait while one holds it D ms: `wall_ns`
 * all                  every kind of lock, timed ones that give up, conditions: `ok`
 * mixed N              N waits of many lengths, by a list that is always the same: sums for the sampler's error
 * given-up             writers and lockers that gave up before the release: `function least_ns most_ns` per line
 * again                a holder that locks its recursive mutex once more while another waits: `function least_ns most_ns`
 * alone                one thread that locks every kind of mutex again and again, and other calls that need not wait: `ok`
 * readers              two who read while one waits to write, one of them longer: `function least_ns most_ns`
 *
 * How long a wait was is known between two bounds: any thread may stand still at any moment. */
#include <sched.h>
#include <semaphore.h>

#include "waiting.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* A waiter that locks when it is told to, and says since when it waits. */
static pthread_barrier_t turn;
static _Atomic pid_t waiter_tid;
static _Atomic int64_t waits_since;
static bool is_over;
static int64_t waited_ns; /* in the last turn */

NAMED static void waits_for_it(void)
{
    const int64_t start = now_ns();
    atomic_store(&waits_since, start);
    pthread_mutex_lock(&mutex);
    waited_ns = now_ns() - start;
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

struct bounds {
    int64_t least, most;
};
static void add(struct bounds *sum, struct bounds more)
{
    sum->least += more.least;
    sum->most += more.most;
}

/* Holds it until the other one has waited for `ns`; what it waited until the unlock.  It began after it said so and
 * before it was seen waiting. */
static inline __attribute__((always_inline)) struct bounds hold(int64_t ns)
{
    pthread_mutex_lock(&mutex);
    pthread_barrier_wait(&turn);
    while (!is_awaited())
        sched_yield();
    const int64_t seen = now_ns(), since = atomic_load(&waits_since);
    if (ns > 1000000)
        sleep_until(since + ns);
    else
        spin_until(since + ns);
    const int64_t before = now_ns();
    pthread_mutex_unlock(&mutex);
    const int64_t after = now_ns();
    pthread_barrier_wait(&turn);
    return (struct bounds){before - seen, after - since};
}

NAMED struct bounds holds_20ms(void)
{
    return hold(20000000);
}
NAMED struct bounds holds_5ms(void)
{
    return hold(5000000);
}
NAMED struct bounds holds_quickly(void)
{
    return hold(200000);
}
NAMED struct bounds holds_as_listed(int64_t ns)
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

static void print_bounds(const char *function, struct bounds bounds)
{
    printf("%s %ld %ld\n", function, bounds.least, bounds.most);
}

static void script(void)
{
    const pthread_t thread = start_waiter();
    struct bounds of_20ms = {0, 0}, of_5ms = {0, 0}, quickly = {0, 0};
    for (int i = 0; i < 10; i++) {
        add(&of_20ms, holds_20ms());
        for (int k = 0; k < 3; k++)
            add(&of_5ms, holds_5ms());
        for (int k = 0; k < 20; k++)
            add(&quickly, holds_quickly());
    }
    end_waiter(thread);
    print_bounds("holds_20ms", of_20ms);
    print_bounds("holds_5ms", of_5ms);
    print_bounds("holds_quickly", quickly);
}

/* The largest d * (R - d) of a d < R = 100 us in between: a sampler's variance. */
static double variance_of(int64_t least, int64_t most)
{
    enum { RATE = 100000 };
    const int64_t d = least > RATE / 2 ? least : most < RATE / 2 ? most : RATE / 2;
    return d < RATE ? (double)d * (double)(RATE - d) : 0;
}

/* Sums of d and d^2 and of a sampler's variance: `N least most waited squares variance`. */
static void mixed(int n)
{
    const pthread_t thread = start_waiter();
    uint64_t random = 88172645463325252;
    struct bounds sum = {0, 0};
    double squares = 0, variance = 0;
    int64_t waited = 0;
    for (int i = 0; i < n; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        const int64_t lengths[] = {0, 10000, 20000, 50000, 90000, 150000, 700000};
        const struct bounds charged = holds_as_listed(lengths[random % 7]);
        const int64_t most = charged.most > waited_ns ? charged.most : waited_ns;
        add(&sum, charged);
        waited += waited_ns;
        squares += (double)most * (double)most;
        variance += variance_of(charged.least, most);
    }
    end_waiter(thread);
    printf("%d %ld %ld %ld %.0f %.0f\n", n, sum.least, sum.most, waited, squares, variance);
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

/* One of the threads finds a rwlock and a mutex held, and is joined before it ends. */
static _Atomic pid_t main_tid, first_tid;

static void waits_for_main(void)
{
    atomic_store(&first_tid, (pid_t)syscall(SYS_gettid));
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
    pthread_mutex_lock(&mutexes[0]);
    pthread_mutex_unlock(&mutexes[0]);
}
static void lets_the_first_wait(void)
{
    await_waiting(&first_tid);
    pthread_rwlock_unlock(&rwlock);
    await_waiting(&first_tid);
    pthread_mutex_unlock(&mutexes[0]);
}

static void *all_main(void *seed)
{
    const bool is_first = (intptr_t)seed == 1;
    uint64_t random = (uint64_t)(intptr_t)seed;
    if (is_first)
        waits_for_main();
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
    if (is_first)
        await_waiting(&main_tid);
    return NULL;
}

static void all(void)
{
    pthread_t threads[N_THREADS];
    make_mutexes();
    pthread_rwlock_wrlock(&rwlock);
    pthread_mutex_lock(&mutexes[0]);
    for (int i = 0; i < N_THREADS; i++)
        check(!pthread_create(&threads[i], NULL, all_main, (void *)(intptr_t)(i * 7919 + 1)),
              "pthread_create");
    lets_the_first_wait();
    atomic_store(&main_tid, (pid_t)syscall(SYS_gettid));
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    puts("ok");
}

/* ---- gave up before the release ---- */

static _Atomic pid_t hopeful_tid;
static _Atomic int64_t hopes_since, hoped_until; /* 0: not yet */

#define IN_VAIN(call, code) \
    do { \
        const struct timespec until = after_ns(CLOCK_MONOTONIC, 20000000); \
        atomic_store(&hopes_since, now_ns()); \
        atomic_store(&hopeful_tid, (pid_t)syscall(SYS_gettid)); \
        check((call) == (code), #call); \
        atomic_store(&hoped_until, now_ns()); \
        (void)until; \
    } while (0)

static void *gives_up_writing(void *unused)
{
    IN_VAIN(pthread_rwlock_clockwrlock(&rwlock, CLOCK_MONOTONIC, &until), ETIMEDOUT);
    return unused;
}
static void *gives_up_locking(void *unused)
{
    IN_VAIN(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &until), ETIMEDOUT);
    return unused;
}

static pthread_t start_hoping(void *(*hope)(void *))
{
    pthread_t thread;
    atomic_store(&hopeful_tid, 0);
    atomic_store(&hoped_until, 0);
    check(!pthread_create(&thread, NULL, hope, NULL), "pthread_create");
    return thread;
}
/* How long it waited: at least from one look at it to another; nothing when no look came at the right time. */
static struct bounds watch(pthread_t thread)
{
    int64_t first = 0, last = 0;
    while (!atomic_load(&hoped_until)) {
        const int64_t before = now_ns();
        const bool waits = atomic_load(&hopeful_tid) && is_in_futex(atomic_load(&hopeful_tid));
        if (waits && !atomic_load(&hoped_until)) {
            last = before;
            first = first ? first : now_ns();
        }
        sched_yield();
    }
    pthread_join(thread, NULL);
    return (struct bounds){last > first ? last - first : 0,
                           atomic_load(&hoped_until) - atomic_load(&hopes_since)};
}

/* Holds what it waits for, so long from when that is seen. */
static int64_t hold_on(int64_t ns)
{
    await_waiting(&hopeful_tid);
    const int64_t seen = now_ns();
    sleep_until(seen + ns);
    return seen;
}
/* It got it, or learned that nobody can: from when it was seen to the release it has waited. */
static struct bounds until_released(int64_t seen, int64_t before, pthread_t thread)
{
    pthread_join(thread, NULL);
    return (struct bounds){before - seen,
                           atomic_load(&hoped_until) - atomic_load(&hopes_since)};
}

NAMED struct bounds reads_while_one_gives_up(void)
{
    pthread_rwlock_rdlock(&rwlock);
    const struct bounds waited = watch(start_hoping(gives_up_writing));
    pthread_rwlock_unlock(&rwlock);
    return waited;
}
NAMED struct bounds holds_while_one_gives_up(void)
{
    pthread_mutex_lock(&mutex);
    const struct bounds waited = watch(start_hoping(gives_up_locking));
    pthread_mutex_unlock(&mutex);
    return waited;
}

/* Its owner has died; the next one does not repair it, and those that wait learn that nobody can have it. */
static pthread_mutex_t robust;

static void *dies_with_it(void *unused)
{
    pthread_mutex_lock(&robust);
    return unused;
}
static void *hopes_for_it(void *unused)
{
    IN_VAIN(pthread_mutex_lock(&robust), ENOTRECOVERABLE);
    return unused;
}
NAMED struct bounds gives_it_up_for_good(void)
{
    pthread_mutexattr_t attr;
    pthread_t thread;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attr);
    check(!pthread_create(&thread, NULL, dies_with_it, NULL), "pthread_create");
    pthread_join(thread, NULL);
    check(pthread_mutex_lock(&robust) == EOWNERDEAD, "owner dead");
    thread = start_hoping(hopes_for_it);
    const int64_t seen = hold_on(20000000), before = now_ns();
    pthread_mutex_unlock(&robust);
    return until_released(seen, before, thread);
}

/* ---- the owner locks it once more ---- */

static pthread_mutex_t nested;

static void *waits_for_nested(void *unused)
{
    IN_VAIN(pthread_mutex_lock(&nested), 0);
    pthread_mutex_unlock(&nested);
    return unused;
}
NAMED void locks_it_again(void)
{
    check(pthread_mutex_lock(&nested) == 0, "lock again");
    check(pthread_mutex_unlock(&nested) == 0, "unlock, once");
}
NAMED struct bounds holds_it_twice(int robustness, int protocol)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutexattr_setrobust(&attr, robustness);
    pthread_mutexattr_setprotocol(&attr, protocol);
    pthread_mutex_init(&nested, &attr);
    pthread_mutex_lock(&nested);
    const pthread_t thread = start_hoping(waits_for_nested);
    const int64_t seen = hold_on(5000000);
    locks_it_again();
    const int64_t before = now_ns();
    pthread_mutex_unlock(&nested);
    return until_released(seen, before, thread);
}
static void again(void)
{
    struct bounds sum = {0, 0};
    add(&sum, holds_it_twice(PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE));
    add(&sum, holds_it_twice(PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE));
    add(&sum, holds_it_twice(PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT));
    print_bounds("holds_it_twice", sum);
}

/* ---- two readers, of whom the last one lets the writer in ---- */

static pthread_barrier_t both_read;

static void *waits_to_write(void *unused)
{
    IN_VAIN(pthread_rwlock_wrlock(&rwlock), 0);
    pthread_rwlock_unlock(&rwlock);
    return unused;
}
NAMED void reads_for_less(void)
{
    pthread_rwlock_rdlock(&rwlock);
    pthread_barrier_wait(&both_read);
    pthread_barrier_wait(&both_read);
    pthread_rwlock_unlock(&rwlock);
    pthread_barrier_wait(&both_read);
}
static void *reader_main(void *unused)
{
    reads_for_less();
    return unused;
}
NAMED struct bounds reads_for_longer(void)
{
    pthread_t reader;
    pthread_barrier_init(&both_read, NULL, 2);
    pthread_rwlock_rdlock(&rwlock);
    check(!pthread_create(&reader, NULL, reader_main, NULL), "pthread_create");
    pthread_barrier_wait(&both_read);
    const pthread_t writer = start_hoping(waits_to_write);
    const int64_t seen = hold_on(10000000);
    pthread_barrier_wait(&both_read); /* the other one unlocks */
    pthread_barrier_wait(&both_read);
    const int64_t before = now_ns();
    pthread_rwlock_unlock(&rwlock);
    pthread_join(reader, NULL);
    return until_released(seen, before, writer);
}

/* ---- nobody waits ---- */

/* Where PP is not allowed (it changes the priority) it is left out. */
static void locks_alone(int type, int robustness, int protocol)
{
    static pthread_mutex_t mutexes[64];
    static int n;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, robustness);
    pthread_mutexattr_setprotocol(&attr, protocol);
    if (pthread_mutex_init(&mutexes[n], &attr) != 0)
        return;
    pthread_mutex_t *const alone = &mutexes[n++];
    for (int i = 0; i < 3 && pthread_mutex_lock(alone) == 0; i++) {
        if (type == PTHREAD_MUTEX_RECURSIVE)
            check(!pthread_mutex_lock(alone) && !pthread_mutex_unlock(alone), "lock again");
        if (type == PTHREAD_MUTEX_ERRORCHECK)
            check(pthread_mutex_lock(alone) == EDEADLK, "lock again");
        check(!pthread_mutex_unlock(alone), "unlock");
    }
}
/* A value that is not the expected one, a semaphore that is not 0, a second reader. */
static void does_not_wait(void)
{
    static int word = 1;
    static pthread_rwlock_t read = PTHREAD_RWLOCK_INITIALIZER;
    sem_t semaphore;
    sem_init(&semaphore, 0, 3);
    for (int i = 0; i < 3; i++) {
        check(syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 2, NULL) < 0 && errno == EAGAIN,
              "futex");
        check(!sem_wait(&semaphore), "sem_wait");
        check(!pthread_rwlock_rdlock(&read), "rdlock");
    }
    for (int i = 0; i < 3; i++)
        check(!pthread_rwlock_unlock(&read), "unlock");
    check(!pthread_rwlock_wrlock(&read) && !pthread_rwlock_unlock(&read), "wrlock");
}
static void all_alone(void)
{
    for (int type = PTHREAD_MUTEX_NORMAL; type <= PTHREAD_MUTEX_ADAPTIVE_NP; type++)
        for (int robustness = 0; robustness <= PTHREAD_MUTEX_ROBUST; robustness++)
            for (int protocol = 0; protocol <= PTHREAD_PRIO_PROTECT; protocol++)
                locks_alone(type, robustness, protocol);
    does_not_wait();
    puts("ok");
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
        print_bounds("reads_while_one_gives_up", reads_while_one_gives_up());
        print_bounds("holds_while_one_gives_up", holds_while_one_gives_up());
        print_bounds("gives_it_up_for_good", gives_it_up_for_good());
    } else if (!strcmp(what, "again"))
        again();
    else if (!strcmp(what, "readers"))
        print_bounds("reads_for_longer", reads_for_longer());
    else if (!strcmp(what, "alone"))
        all_alone();
    return 0;
}
