/* What every call that locks or waits returns, and what it leaves in errno, as a table.
 * argv[1]: mutex, rwlock, others, c11 */
#include <sched.h>
#include <semaphore.h>
#include <threads.h>

#include "waiting.h"

static const char *context = "";

/* One row; `code` is what the call returned. */
static void row(const char *call, int code)
{
    printf("%s: %s = %d, errno %d\n", context, call, code, errno);
    errno = 77;
}
#define ROW(call) row(#call, (call))

enum { WAIT_NS = 3000000 };
static const int64_t ENOUGH_NS = 300000000000; /* longer than the machine stands still */
static struct timespec soon, later, past, bad = {1, 1000000000}, negative = {-1, 0};
#define SOON(clock)  (soon = after_ns(clock, WAIT_NS), &soon)
#define LATER(clock) (later = after_ns(clock, ENOUGH_NS), &later)
#define PAST(clock)  (past = after_ns(clock, -1000000000), &past)

/* Calls work(arg) in another thread. */
static void elsewhere(void *(*work)(void *arg), void *arg)
{
    pthread_t thread;
    check(!pthread_create(&thread, NULL, work, arg), "pthread_create");
    check(!pthread_join(thread, NULL), "pthread_join");
    errno = 77;
}

/* A thread that does the first half at once and the second when the caller of release_when_awaited() waits. */
struct holder {
    void (*take)(void *lock), (*drop)(void *lock);
    void *lock;
    pthread_t thread;
    _Atomic pid_t waiter;
    sem_t taken, go;
};

static void *holder_main(void *arg)
{
    struct holder *holder = arg;
    holder->take(holder->lock);
    sem_post(&holder->taken);
    sem_wait(&holder->go);
    if (atomic_load(&holder->waiter))
        await_waiting(&holder->waiter);
    holder->drop(holder->lock);
    return NULL;
}

static void hold(struct holder *holder, void (*take)(void *), void (*drop)(void *), void *lock)
{
    *holder = (struct holder){.take = take, .drop = drop, .lock = lock};
    sem_init(&holder->taken, 0, 0);
    sem_init(&holder->go, 0, 0);
    check(!pthread_create(&holder->thread, NULL, holder_main, holder), "pthread_create");
    sem_wait(&holder->taken);
    errno = 77;
}
static void release_when_awaited(struct holder *holder)
{
    atomic_store(&holder->waiter, (pid_t)syscall(SYS_gettid));
    sem_post(&holder->go);
}
static void end(struct holder *holder)
{
    pthread_join(holder->thread, NULL);
    errno = 77;
}
static void release_and_end(struct holder *holder)
{
    sem_post(&holder->go);
    end(holder);
}

/* ---- mutexes ---- */

static const struct mutex_kind {
    const char *name;
    int type, robust, protocol;
} mutex_kinds[] = {
    {"normal",            PTHREAD_MUTEX_NORMAL,      0, PTHREAD_PRIO_NONE   },
    {"recursive",         PTHREAD_MUTEX_RECURSIVE,   0, PTHREAD_PRIO_NONE   },
    {"errorcheck",        PTHREAD_MUTEX_ERRORCHECK,  0, PTHREAD_PRIO_NONE   },
    {"adaptive",          PTHREAD_MUTEX_ADAPTIVE_NP, 0, PTHREAD_PRIO_NONE   },
    {"robust",            PTHREAD_MUTEX_NORMAL,      1, PTHREAD_PRIO_NONE   },
    {"robust recursive",  PTHREAD_MUTEX_RECURSIVE,   1, PTHREAD_PRIO_NONE   },
    {"robust errorcheck", PTHREAD_MUTEX_ERRORCHECK,  1, PTHREAD_PRIO_NONE   },
    {"pi",                PTHREAD_MUTEX_NORMAL,      0, PTHREAD_PRIO_INHERIT},
    {"pi recursive",      PTHREAD_MUTEX_RECURSIVE,   0, PTHREAD_PRIO_INHERIT},
    {"pi errorcheck",     PTHREAD_MUTEX_ERRORCHECK,  0, PTHREAD_PRIO_INHERIT},
    {"pi robust",         PTHREAD_MUTEX_NORMAL,      1, PTHREAD_PRIO_INHERIT},
    {"pp",                PTHREAD_MUTEX_NORMAL,      0, PTHREAD_PRIO_PROTECT},
    {"pp errorcheck",     PTHREAD_MUTEX_ERRORCHECK,  0, PTHREAD_PRIO_PROTECT},
};

static bool make_mutex(pthread_mutex_t *mutex, const struct mutex_kind *kind)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, kind->type);
    if (kind->robust)
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&attr, kind->protocol);
    if (kind->protocol == PTHREAD_PRIO_PROTECT)
        pthread_mutexattr_setprioceiling(&attr, sched_get_priority_min(SCHED_FIFO));
    errno = 77;
    const int err = pthread_mutex_init(mutex, &attr);
    row("pthread_mutex_init", err);
    return err == 0;
}

static void take_mutex(void *mutex)
{
    pthread_mutex_lock(mutex);
}
static void drop_mutex(void *mutex)
{
    pthread_mutex_unlock(mutex);
}
static void *unlocks_unowned(void *mutex)
{
    errno = 77;
    ROW(pthread_mutex_unlock(mutex));
    return NULL;
}
static void *dies_with_it(void *mutex)
{
    pthread_mutex_lock(mutex);
    return NULL;
}

static void mutex_free(pthread_mutex_t *m)
{
    const int locked = pthread_mutex_lock(m);
    row("pthread_mutex_lock", locked);
    if (locked) /* a priority that this process may not have */
        return;
    ROW(pthread_mutex_unlock(m));
    ROW(pthread_mutex_trylock(m));
    ROW(pthread_mutex_unlock(m));
    ROW(pthread_mutex_timedlock(m, PAST(CLOCK_REALTIME)));
    ROW(pthread_mutex_unlock(m));
    ROW(pthread_mutex_timedlock(m, &bad));
    ROW(pthread_mutex_unlock(m));
    ROW(pthread_mutex_clocklock(m, CLOCK_MONOTONIC, LATER(CLOCK_MONOTONIC)));
    ROW(pthread_mutex_unlock(m));
    ROW(pthread_mutex_clocklock(m, CLOCK_REALTIME, &negative));
    ROW(pthread_mutex_unlock(m));
}

/* What would wait for ever is left out. */
static void mutex_own(pthread_mutex_t *m, const struct mutex_kind *kind)
{
    const bool knows =
        kind->type == PTHREAD_MUTEX_RECURSIVE || kind->type == PTHREAD_MUTEX_ERRORCHECK;
    if (pthread_mutex_lock(m))
        return;
    errno = 77;
    if (knows)
        ROW(pthread_mutex_lock(m));
    ROW(pthread_mutex_trylock(m));
    ROW(pthread_mutex_timedlock(m, SOON(CLOCK_REALTIME)));
    ROW(pthread_mutex_timedlock(m, PAST(CLOCK_REALTIME)));
    ROW(pthread_mutex_timedlock(m, &bad));
    ROW(pthread_mutex_clocklock(m, CLOCK_MONOTONIC, SOON(CLOCK_MONOTONIC)));
    ROW(pthread_mutex_clocklock(m, 99, SOON(CLOCK_MONOTONIC)));
    for (int i = 0; i < 8 && (i == 0 || kind->type == PTHREAD_MUTEX_RECURSIVE); i++)
        ROW(pthread_mutex_unlock(m));
    if (knows || kind->robust || kind->protocol == PTHREAD_PRIO_INHERIT)
        ROW(pthread_mutex_unlock(m)); /* not owned */
}

static void mutex_of_another(pthread_mutex_t *m, const struct mutex_kind *kind)
{
    struct holder holder;
    if (kind->protocol == PTHREAD_PRIO_PROTECT && pthread_mutex_trylock(m))
        return;
    if (kind->protocol == PTHREAD_PRIO_PROTECT)
        pthread_mutex_unlock(m);
    hold(&holder, take_mutex, drop_mutex, m);
    ROW(pthread_mutex_trylock(m));
    ROW(pthread_mutex_timedlock(m, SOON(CLOCK_REALTIME)));
    ROW(pthread_mutex_timedlock(m, PAST(CLOCK_REALTIME)));
    ROW(pthread_mutex_timedlock(m, &bad));
    ROW(pthread_mutex_timedlock(m, &negative));
    ROW(pthread_mutex_clocklock(m, CLOCK_MONOTONIC, SOON(CLOCK_MONOTONIC)));
    ROW(pthread_mutex_clocklock(m, CLOCK_REALTIME, PAST(CLOCK_REALTIME)));
    ROW(pthread_mutex_clocklock(m, CLOCK_PROCESS_CPUTIME_ID, SOON(CLOCK_MONOTONIC)));
    release_when_awaited(&holder);
    ROW(pthread_mutex_lock(m));
    end(&holder);
    ROW(pthread_mutex_unlock(m));
    hold(&holder, take_mutex, drop_mutex, m);
    release_when_awaited(&holder);
    ROW(pthread_mutex_timedlock(m, LATER(CLOCK_REALTIME)));
    end(&holder);
    ROW(pthread_mutex_unlock(m));
    hold(&holder, take_mutex, drop_mutex, m);
    release_when_awaited(&holder);
    ROW(pthread_mutex_clocklock(m, CLOCK_MONOTONIC, LATER(CLOCK_MONOTONIC)));
    end(&holder);
    if (kind->type != PTHREAD_MUTEX_NORMAL || kind->robust ||
        kind->protocol == PTHREAD_PRIO_INHERIT)
        elsewhere(unlocks_unowned, m);
    ROW(pthread_mutex_unlock(m));
}

static void take_nothing(void *mutex)
{
    pthread_mutex_lock(mutex);
}
static void drop_nothing(void *mutex)
{
    (void)mutex; /* ends with it */
}

static void mutex_of_the_dead(const struct mutex_kind *kind)
{
    struct holder holder;
    pthread_mutex_t m;
    make_mutex(&m, kind);
    elsewhere(dies_with_it, &m);
    ROW(pthread_mutex_trylock(&m));
    ROW(pthread_mutex_consistent(&m));
    ROW(pthread_mutex_unlock(&m));
    elsewhere(dies_with_it, &m);
    ROW(pthread_mutex_timedlock(&m, LATER(CLOCK_REALTIME)));
    ROW(pthread_mutex_consistent(&m));
    ROW(pthread_mutex_consistent(&m));
    ROW(pthread_mutex_unlock(&m));
    hold(&holder, take_nothing, drop_nothing, &m);
    release_when_awaited(&holder); /* dies while it is waited for */
    ROW(pthread_mutex_lock(&m));
    end(&holder);
    ROW(pthread_mutex_consistent(&m));
    ROW(pthread_mutex_unlock(&m));
    elsewhere(dies_with_it, &m);
    ROW(pthread_mutex_lock(&m));
    ROW(pthread_mutex_unlock(&m)); /* not consistent */
    ROW(pthread_mutex_lock(&m));
    ROW(pthread_mutex_trylock(&m));
    ROW(pthread_mutex_timedlock(&m, SOON(CLOCK_REALTIME)));
    ROW(pthread_mutex_clocklock(&m, CLOCK_MONOTONIC, SOON(CLOCK_MONOTONIC)));
    ROW(pthread_mutex_destroy(&m));
}

/* The waiter learns that nobody can have it any more. */
static void take_dead(void *mutex)
{
    row("the holder's pthread_mutex_lock", pthread_mutex_lock(mutex));
}
static void mutex_given_up_while_awaited(const struct mutex_kind *kind)
{
    struct holder holder;
    pthread_mutex_t m;
    make_mutex(&m, kind);
    elsewhere(dies_with_it, &m);
    hold(&holder, take_dead, drop_mutex, &m);
    release_when_awaited(&holder);
    ROW(pthread_mutex_lock(&m));
    end(&holder);
}

static void mutexes(void)
{
    for (size_t i = 0; i < sizeof mutex_kinds / sizeof *mutex_kinds; i++) {
        const struct mutex_kind *kind = &mutex_kinds[i];
        pthread_mutex_t m;
        context = kind->name;
        if (!make_mutex(&m, kind))
            continue;
        mutex_free(&m);
        mutex_own(&m, kind);
        mutex_of_another(&m, kind);
        ROW(pthread_mutex_destroy(&m));
        if (kind->robust) {
            mutex_of_the_dead(kind);
            mutex_given_up_while_awaited(kind);
        }
    }
}

/* ---- rwlocks ---- */

static void take_read(void *lock)
{
    pthread_rwlock_rdlock(lock);
}
static void take_write(void *lock)
{
    pthread_rwlock_wrlock(lock);
}
static void drop_rwlock(void *lock)
{
    pthread_rwlock_unlock(lock);
}

static int unlocked(pthread_rwlock_t *l, int err)
{
    if (err == 0)
        pthread_rwlock_unlock(l);
    return err;
}

/* Nothing that waits for ever. */
static void rwlock_all_timed(pthread_rwlock_t *l)
{
    ROW(unlocked(l, pthread_rwlock_tryrdlock(l)));
    ROW(unlocked(l, pthread_rwlock_trywrlock(l)));
    ROW(unlocked(l, pthread_rwlock_timedrdlock(l, SOON(CLOCK_REALTIME))));
    ROW(unlocked(l, pthread_rwlock_timedwrlock(l, SOON(CLOCK_REALTIME))));
    ROW(unlocked(l, pthread_rwlock_timedrdlock(l, PAST(CLOCK_REALTIME))));
    ROW(unlocked(l, pthread_rwlock_timedwrlock(l, PAST(CLOCK_REALTIME))));
    ROW(unlocked(l, pthread_rwlock_timedrdlock(l, &bad)));
    ROW(unlocked(l, pthread_rwlock_timedwrlock(l, &bad)));
    ROW(unlocked(l, pthread_rwlock_clockrdlock(l, CLOCK_MONOTONIC, SOON(CLOCK_MONOTONIC))));
    ROW(unlocked(l, pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, SOON(CLOCK_MONOTONIC))));
    ROW(unlocked(l, pthread_rwlock_clockrdlock(l, 99, SOON(CLOCK_MONOTONIC))));
    ROW(unlocked(l, pthread_rwlock_clockwrlock(l, 99, SOON(CLOCK_MONOTONIC))));
    ROW(unlocked(l, pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, &negative)));
}

static int call_rwlock(pthread_rwlock_t *l, int how)
{
    switch (how) {
    case 0: return pthread_rwlock_rdlock(l);
    case 1: return pthread_rwlock_wrlock(l);
    case 2: return pthread_rwlock_timedrdlock(l, LATER(CLOCK_REALTIME));
    case 3: return pthread_rwlock_timedwrlock(l, LATER(CLOCK_REALTIME));
    case 4: return pthread_rwlock_clockrdlock(l, CLOCK_MONOTONIC, LATER(CLOCK_MONOTONIC));
    default: return pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, LATER(CLOCK_MONOTONIC));
    }
}

static void rwlock_contended(pthread_rwlock_t *l)
{
    struct holder holder;
    for (int how = 0; how < 6; how++) {
        hold(&holder, take_write, drop_rwlock, l);
        release_when_awaited(&holder);
        ROW(unlocked(l, call_rwlock(l, how)));
        end(&holder);
    }
    for (int how = 1; how < 6; how += 2) {
        hold(&holder, take_read, drop_rwlock, l);
        release_when_awaited(&holder);
        ROW(unlocked(l, call_rwlock(l, how)));
        end(&holder);
    }
}

static _Atomic pid_t writer;
static void *writes_once(void *lock)
{
    atomic_store(&writer, (pid_t)syscall(SYS_gettid));
    pthread_rwlock_wrlock(lock);
    pthread_rwlock_unlock(lock);
    return NULL;
}

static void rwlock_states(pthread_rwlock_t *l)
{
    struct holder holder;
    pthread_t thread;
    rwlock_all_timed(l);
    ROW(pthread_rwlock_rdlock(l));
    ROW(unlocked(l, pthread_rwlock_rdlock(l)));
    rwlock_all_timed(l);
    atomic_store(&writer, 0);
    check(!pthread_create(&thread, NULL, writes_once, l), "pthread_create");
    await_waiting(&writer);
    errno = 77;
    ROW(unlocked(l,
                 pthread_rwlock_timedrdlock(l, SOON(CLOCK_REALTIME)))); /* who is preferred? */
    ROW(pthread_rwlock_unlock(l));
    pthread_join(thread, NULL);
    errno = 77;
    ROW(pthread_rwlock_wrlock(l));
    ROW(pthread_rwlock_wrlock(l));
    ROW(pthread_rwlock_rdlock(l));
    rwlock_all_timed(l);
    ROW(pthread_rwlock_unlock(l));
    hold(&holder, take_read, drop_rwlock, l);
    rwlock_all_timed(l);
    release_and_end(&holder);
    hold(&holder, take_write, drop_rwlock, l);
    rwlock_all_timed(l);
    release_and_end(&holder);
    rwlock_contended(l);
}

static void rwlocks(void)
{
    static const struct {
        const char *name;
        int kind;
    } kinds[] = {
        {"prefer reader",              PTHREAD_RWLOCK_PREFER_READER_NP             },
        {"prefer writer",              PTHREAD_RWLOCK_PREFER_WRITER_NP             },
        {"prefer writer nonrecursive", PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP},
    };
    for (size_t i = 0; i < 3; i++) {
        pthread_rwlockattr_t attr;
        pthread_rwlock_t lock;
        pthread_rwlockattr_init(&attr);
        pthread_rwlockattr_setkind_np(&attr, kinds[i].kind);
        pthread_rwlock_init(&lock, &attr);
        context = kinds[i].name;
        errno = 77;
        rwlock_states(&lock);
        ROW(pthread_rwlock_destroy(&lock));
    }
}

/* ---- semaphores, barriers, conditions, joins ---- */

static void take_none(void *lock)
{
    (void)lock;
}
static void post(void *semaphore)
{
    sem_post(semaphore);
}
static void on_signal(int signo)
{
    (void)signo;
}
static void interrupt(void *target)
{
    pthread_kill(*(pthread_t *)target, SIGUSR1);
}

static void semaphores(void)
{
    struct holder holder;
    sem_t s;
    pthread_t self = pthread_self();
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    context = "semaphore";
    sem_init(&s, 0, 4);
    errno = 77;
    ROW(sem_wait(&s));
    ROW(sem_timedwait(&s, &bad));
    ROW(sem_clockwait(&s, CLOCK_MONOTONIC, PAST(CLOCK_MONOTONIC)));
    ROW(sem_trywait(&s));
    ROW(sem_trywait(&s));
    ROW(sem_timedwait(&s, SOON(CLOCK_REALTIME)));
    ROW(sem_timedwait(&s, PAST(CLOCK_REALTIME)));
    ROW(sem_timedwait(&s, &bad));
    ROW(sem_timedwait(&s, &negative));
    ROW(sem_clockwait(&s, CLOCK_MONOTONIC, SOON(CLOCK_MONOTONIC)));
    ROW(sem_clockwait(&s, CLOCK_MONOTONIC, &bad));
    ROW(sem_clockwait(&s, 99, SOON(CLOCK_MONOTONIC)));
    hold(&holder, take_none, post, &s);
    release_when_awaited(&holder);
    ROW(sem_wait(&s));
    end(&holder);
    hold(&holder, take_none, post, &s);
    release_when_awaited(&holder);
    ROW(sem_timedwait(&s, LATER(CLOCK_REALTIME)));
    end(&holder);
    hold(&holder, take_none, interrupt, &self);
    release_when_awaited(&holder);
    ROW(sem_wait(&s));
    end(&holder);
    hold(&holder, take_none, interrupt, &self);
    release_when_awaited(&holder);
    ROW(sem_clockwait(&s, CLOCK_MONOTONIC, LATER(CLOCK_MONOTONIC)));
    end(&holder);
}

static void meet(void *barrier)
{
    pthread_barrier_wait(barrier);
}

static void barriers(void)
{
    struct holder holder;
    pthread_barrier_t b;
    context = "barrier";
    pthread_barrier_init(&b, NULL, 1);
    errno = 77;
    ROW(pthread_barrier_wait(&b));
    pthread_barrier_destroy(&b);
    pthread_barrier_init(&b, NULL, 2);
    hold(&holder, take_none, meet, &b);
    release_when_awaited(&holder);
    const int code = pthread_barrier_wait(&b);
    row("pthread_barrier_wait of two", code == 0 || code == PTHREAD_BARRIER_SERIAL_THREAD);
    end(&holder);
}

static pthread_mutex_t cond_mutex;
static void signal_cond(void *cond)
{
    pthread_mutex_lock(&cond_mutex);
    pthread_cond_signal(cond);
    pthread_mutex_unlock(&cond_mutex);
}

/* What a condition does with its mutex shows in the unlock after it. */
static void conditions(const struct mutex_kind *kind)
{
    struct holder holder;
    pthread_cond_t c = PTHREAD_COND_INITIALIZER;
    pthread_mutex_t *m = &cond_mutex;
    context = kind->name;
    if (!make_mutex(m, kind) || pthread_mutex_lock(m))
        return;
    errno = 77;
    ROW(pthread_cond_timedwait(&c, m, SOON(CLOCK_REALTIME)));
    ROW(pthread_cond_timedwait(&c, m, PAST(CLOCK_REALTIME)));
    ROW(pthread_cond_timedwait(&c, m, &bad));
    ROW(pthread_cond_timedwait(&c, m, &negative));
    ROW(pthread_cond_clockwait(&c, m, CLOCK_MONOTONIC, SOON(CLOCK_MONOTONIC)));
    ROW(pthread_cond_clockwait(&c, m, CLOCK_MONOTONIC, &bad));
    ROW(pthread_cond_clockwait(&c, m, 99, SOON(CLOCK_MONOTONIC)));
    hold(&holder, take_none, signal_cond, &c);
    release_when_awaited(&holder);
    ROW(pthread_cond_wait(&c, m));
    end(&holder);
    hold(&holder, take_none, signal_cond, &c);
    release_when_awaited(&holder);
    ROW(pthread_cond_timedwait(&c, m, LATER(CLOCK_REALTIME)));
    end(&holder);
    ROW(pthread_mutex_unlock(m));
    if (kind->type == PTHREAD_MUTEX_ERRORCHECK)
        ROW(pthread_cond_timedwait(&c, m, SOON(CLOCK_REALTIME))); /* not owned */
}

static void *gives_its_argument(void *arg)
{
    return arg;
}
static sem_t may_end;
static void *ends_when_told(void *arg)
{
    sem_wait(&may_end);
    return arg;
}
/* libc spins for ever with a time or a clock that is none: left out. */
static void joins(void)
{
    pthread_t thread, self = pthread_self();
    void *result = NULL;
    context = "join";
    sem_init(&may_end, 0, 0);
    errno = 77;
    ROW(pthread_join(self, NULL));
    ROW(pthread_timedjoin_np(self, NULL, SOON(CLOCK_REALTIME)));
    check(!pthread_create(&thread, NULL, gives_its_argument, (void *)5), "pthread_create");
    ROW(pthread_join(thread, &result));
    row("result", (int)(intptr_t)result);
    check(!pthread_create(&thread, NULL, ends_when_told, (void *)6), "pthread_create");
    ROW(pthread_timedjoin_np(thread, &result, SOON(CLOCK_REALTIME)));
    ROW(pthread_timedjoin_np(thread, &result, PAST(CLOCK_REALTIME)));
    ROW(pthread_clockjoin_np(thread, &result, CLOCK_MONOTONIC, SOON(CLOCK_MONOTONIC)));
    ROW(pthread_tryjoin_np(thread, &result));
    sem_post(&may_end);
    ROW(pthread_clockjoin_np(thread, &result, CLOCK_MONOTONIC, LATER(CLOCK_MONOTONIC)));
    row("result", (int)(intptr_t)result);
    check(!pthread_create(&thread, NULL, ends_when_told, NULL), "pthread_create");
    pthread_detach(thread);
    errno = 77;
    ROW(pthread_join(thread, NULL));
    sem_post(&may_end);
}

static void others(void)
{
    static const int kinds[] = {0, 1, 2, 4, 7, 9};
    semaphores();
    barriers();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        conditions(&mutex_kinds[kinds[i]]);
    joins();
}

/* ---- C11 ---- */

static void take_mtx(void *mutex)
{
    mtx_lock(mutex);
}
static void drop_mtx(void *mutex)
{
    mtx_unlock(mutex);
}
static cnd_t cnd;
static void signal_cnd(void *mutex)
{
    mtx_lock(mutex);
    cnd_signal(&cnd);
    mtx_unlock(mutex);
}
static int gives_its_int(void *arg)
{
    return (int)(intptr_t)arg;
}

static void c11_mutex(int type)
{
    struct holder holder;
    mtx_t m;
    mtx_init(&m, type);
    ROW(mtx_lock(&m));
    if (type & mtx_recursive) {
        ROW(mtx_lock(&m));
        ROW(mtx_unlock(&m));
    }
    ROW(mtx_trylock(&m));
    if (type & mtx_recursive)
        ROW(mtx_unlock(&m));
    if (type & mtx_timed) {
        ROW(mtx_timedlock(&m, SOON(CLOCK_REALTIME)));
        if (type & mtx_recursive)
            ROW(mtx_unlock(&m));
    }
    ROW(mtx_unlock(&m));
    hold(&holder, take_mtx, drop_mtx, &m);
    ROW(mtx_trylock(&m));
    ROW(mtx_timedlock(&m, SOON(CLOCK_REALTIME)));
    ROW(mtx_timedlock(&m, PAST(CLOCK_REALTIME)));
    ROW(mtx_timedlock(&m, &bad));
    release_when_awaited(&holder);
    ROW(mtx_lock(&m));
    end(&holder);
    ROW(cnd_timedwait(&cnd, &m, SOON(CLOCK_REALTIME)));
    ROW(cnd_timedwait(&cnd, &m, &bad));
    hold(&holder, take_none, signal_cnd, &m);
    release_when_awaited(&holder);
    ROW(cnd_wait(&cnd, &m));
    end(&holder);
    hold(&holder, take_none, signal_cnd, &m);
    release_when_awaited(&holder);
    ROW(cnd_timedwait(&cnd, &m, LATER(CLOCK_REALTIME)));
    end(&holder);
    ROW(mtx_unlock(&m));
}

static void c11(void)
{
    thrd_t thread;
    int result = 0;
    cnd_init(&cnd);
    errno = 77;
    context = "plain";
    c11_mutex(mtx_plain);
    context = "timed";
    c11_mutex(mtx_timed);
    context = "recursive";
    c11_mutex(mtx_plain | mtx_recursive);
    context = "timed recursive";
    c11_mutex(mtx_timed | mtx_recursive);
    context = "thrd";
    ROW(thrd_create(&thread, gives_its_int, (void *)-5));
    ROW(thrd_join(thread, &result));
    row("result", result);
    ROW(thrd_join(thrd_current(), NULL));
}

int main(int argc, char **argv)
{
    const char *group = argc > 1 ? argv[1] : "";
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
    if (!strcmp(group, "mutex"))
        mutexes();
    else if (!strcmp(group, "rwlock"))
        rwlocks();
    else if (!strcmp(group, "others"))
        others();
    else if (!strcmp(group, "c11"))
        c11();
    return 0;
}
