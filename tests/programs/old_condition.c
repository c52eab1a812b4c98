/* Waits on a condition of the time before glibc 2.3.2, whose object is one pointer, and on one of today. */
#include <sched.h>

#include "waiting.h"

struct old_cond {
    void *made_by_libc;
};
int old_wait(struct old_cond *cond, pthread_mutex_t *mutex);
int old_timedwait(struct old_cond *cond, pthread_mutex_t *mutex, const struct timespec *until);
int old_signal(struct old_cond *cond);
__asm__(".symver old_wait, pthread_cond_wait@GLIBC_2.2.5");
__asm__(".symver old_timedwait, pthread_cond_timedwait@GLIBC_2.2.5");
__asm__(".symver old_signal, pthread_cond_signal@GLIBC_2.2.5");

/* Whoever takes the old object for one of today writes over the guards. */
static struct {
    struct old_cond cond;
    unsigned char guard[64];
} old;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool is_said;
static _Atomic pid_t waiter_tid;

NAMED void waits_the_old_way(void)
{
    while (!is_said)
        check(!old_wait(&old.cond, &mutex), "old pthread_cond_wait");
    const struct timespec until = after_ns(CLOCK_REALTIME, 5000000);
    check(old_timedwait(&old.cond, &mutex, &until) == ETIMEDOUT, "old pthread_cond_timedwait");
}
NAMED void waits_the_new_way(void)
{
    while (!is_said)
        check(!pthread_cond_wait(&cond, &mutex), "pthread_cond_wait");
}

static void *waiter_main(void *old_way)
{
    atomic_store(&waiter_tid, (pid_t)syscall(SYS_gettid));
    pthread_mutex_lock(&mutex);
    if (old_way)
        waits_the_old_way();
    else
        waits_the_new_way();
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void try_way(void *old_way)
{
    pthread_t thread;
    atomic_store(&waiter_tid, 0);
    is_said = false;
    check(!pthread_create(&thread, NULL, waiter_main, old_way), "pthread_create");
    await_waiting(&waiter_tid);
    pthread_mutex_lock(&mutex);
    is_said = true;
    if (old_way)
        old_signal(&old.cond);
    else
        pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, NULL);
}

int main(void)
{
    try_way("old");
    try_way(NULL);
    for (size_t i = 0; i < sizeof old.guard; i++)
        check(old.guard[i] == 0, "the guard");
    puts("done");
    return 0;
}
