/* A lock is waited for until a time that is past, step by step: at each instruction a handler waits too. */
#include <linux/futex.h>
#include <sys/syscall.h>

#include "victim.h"

enum { TRAP_FLAG = 0x100 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t is_held, was_awaited;
static volatile long n_waits;

#if defined(__x86_64__)
static void step_from_here(void)
{
    __asm__ volatile("pushfq; orq %0, (%%rsp); popfq" ::"i"(TRAP_FLAG) : "memory", "cc");
}
static void step_no_more(void)
{
    __asm__ volatile("pushfq; andq %0, (%%rsp); popfq" ::"i"(~TRAP_FLAG) : "memory", "cc");
}
#else
static void step_from_here(void)
{
}
static void step_no_more(void)
{
}
#endif

static void waits_in_handler(int signal)
{
    const int saved_errno = errno;
    struct timespec soon = {0, 1};
    int word = 0;

    (void)signal;
    syscall(SYS_futex, &word, FUTEX_WAIT, 0, &soon, NULL, 0);
    n_waits++;
    errno = saved_errno;
}

static void *holds(void *arg)
{
    pthread_mutex_lock(&mutex);
    pthread_barrier_wait(&is_held);
    pthread_barrier_wait(&was_awaited);
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void)
{
    const struct sigaction action = {.sa_handler = waits_in_handler};
    const struct timespec past = {1, 0};
    pthread_t thread;

    check(sigaction(SIGTRAP, &action, NULL) == 0, "sigaction");
    pthread_barrier_init(&is_held, NULL, 2);
    pthread_barrier_init(&was_awaited, NULL, 2);
    check(pthread_create(&thread, NULL, holds, NULL) == 0, "pthread_create");
    pthread_barrier_wait(&is_held);
    step_from_here();
    const int err = pthread_mutex_timedlock(&mutex, &past);
    step_no_more();
    check(err == ETIMEDOUT, "pthread_mutex_timedlock");
    pthread_barrier_wait(&was_awaited);
    pthread_join(thread, NULL);
    printf("%d\n", n_waits > 100);
    return 0;
}
