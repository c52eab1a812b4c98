/* Threads that wait and go on waiting until the program is killed; prints `waiting` when they all do.
 *
 * deadlock      two threads, two mutexes
 * cond          one on a condition, one on a semaphore
 * deep KIB      one under frames of so many KiB
 * handler       one in a signal handler during a wait for a mutex
 * handler-above the same, the handler on an alternate stack that lies above the wait's frames
 * longjmp       one that left a wait by siglongjmp and waits for something else
 * longjmp-runs  one that left a wait by siglongjmp and waits no more
 * longjmp-sleeps and sleeps in another system call, its frame a little below that of the wait */
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <sys/prctl.h>

#include "waiting.h"

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t semaphore, other_semaphore;
static pthread_barrier_t barrier;
static _Atomic pid_t tids[2];
static _Atomic bool is_out, is_over;

static void about_to_wait(int i)
{
    atomic_store(&tids[i], (pid_t)syscall(SYS_gettid));
}
static void name_thread(int i, const char *name)
{
    prctl(PR_SET_NAME, name);
    about_to_wait(i);
}

NAMED void wants_second(void)
{
    pthread_mutex_lock(&first);
    pthread_barrier_wait(&barrier); /* no wait to be seen */
    about_to_wait(0);
    pthread_mutex_lock(&second);
}
NAMED void wants_first(void)
{
    pthread_mutex_lock(&second);
    pthread_barrier_wait(&barrier);
    about_to_wait(1);
    pthread_mutex_lock(&first);
}
NAMED void waits_for_cond(void)
{
    pthread_mutex_lock(&first);
    for (;;)
        pthread_cond_wait(&cond, &first);
}
NAMED void waits_for_semaphore(void)
{
    while (sem_wait(&semaphore))
        ;
}
NAMED void locks_held(void)
{
    pthread_mutex_lock(&second);
    is_over = true;
}
NAMED void waits_for_other(void)
{
    while (sem_wait(&other_semaphore))
        ;
}

static volatile size_t kib_left;
NAMED void goes_down(size_t kib)
{
    char frame[1000];
    memset(frame, (int)kib, sizeof frame);
    if (kib == 0)
        waits_for_semaphore();
    else
        goes_down(kib - 1);
    __asm__ volatile("" : : "r"(frame) : "memory");
}

static void *deadlock_a(void *unused)
{
    prctl(PR_SET_NAME, "left");
    wants_second();
    return unused;
}
static void *deadlock_b(void *unused)
{
    prctl(PR_SET_NAME, "right");
    wants_first();
    return unused;
}
static void *cond_main(void *unused)
{
    name_thread(0, "for-cond");
    waits_for_cond();
    return unused;
}
static void *sem_main(void *unused)
{
    name_thread(1, "for-sem");
    waits_for_semaphore();
    return unused;
}
static void *deep_main(void *unused)
{
    name_thread(0, "deep");
    goes_down(kib_left);
    return unused;
}
static void *locks_main(void *unused)
{
    name_thread(0, "interrupted");
    locks_held();
    return unused;
}

static void *locks_below_main(void *unused)
{
    static __thread stack_t above;
    char room[1 << 15];
    above = (stack_t){.ss_sp = room, .ss_size = sizeof room};
    check(!sigaltstack(&above, NULL), "sigaltstack");
    return locks_main(unused);
}

static void waits_in_handler(int signo)
{
    (void)signo;
    is_out = true;
    waits_for_semaphore();
}

static sigjmp_buf back;
static void jumps_out(int signo)
{
    (void)signo;
    siglongjmp(back, 1);
}
NAMED void runs_for_ever(void)
{
    is_out = true;
    while (!is_over)
        sched_yield();
}
NAMED void sleeps_for_ever(void)
{
    volatile char room[700];
    room[0] = 0;
    is_out = true;
    for (;;)
        pause();
}
static void *jumper_main(void *how)
{
    name_thread(0, "jumped");
    if (sigsetjmp(back, 1) == 0)
        locks_held();
    if (!strcmp(how, "longjmp-runs"))
        runs_for_ever();
    if (!strcmp(how, "longjmp-sleeps"))
        sleeps_for_ever();
    is_out = true;
    waits_for_other();
    return NULL;
}

static pthread_t start(void *(*work)(void *), void *arg)
{
    pthread_t thread;
    check(!pthread_create(&thread, NULL, work, arg), "pthread_create");
    return thread;
}

static void interrupt(pthread_t thread, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    await_waiting(&tids[0]);
    pthread_kill(thread, SIGUSR1);
    while (!is_out)
        sched_yield();
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int n = 1;
    pthread_barrier_init(&barrier, NULL, 2);
    sem_init(&semaphore, 0, 0);
    sem_init(&other_semaphore, 0, 0);
    if (!strcmp(what, "deadlock")) {
        start(deadlock_a, NULL);
        start(deadlock_b, NULL);
        n = 2;
    } else if (!strcmp(what, "cond")) {
        start(cond_main, NULL);
        start(sem_main, NULL);
        n = 2;
    } else if (!strcmp(what, "deep") && argc > 2) {
        kib_left = (size_t)atoi(argv[2]);
        start(deep_main, NULL);
    } else if (!strncmp(what, "handler", 7)) {
        const bool is_above = !strcmp(what, "handler-above");
        pthread_mutex_lock(&second);
        interrupt(start(is_above ? locks_below_main : locks_main, NULL), waits_in_handler);
    } else if (!strncmp(what, "longjmp", 7)) {
        pthread_mutex_lock(&second);
        interrupt(start(jumper_main, argv[1]), jumps_out);
        n = !strcmp(what, "longjmp");
    }
    for (int i = 0; i < n; i++)
        await_waiting(&tids[i]);
    puts("waiting");
    fflush(stdout);
    for (;;)
        pause();
}
