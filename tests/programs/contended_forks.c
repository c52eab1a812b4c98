/* Processes and memory around contended mutexes.
 * fork     200 forks while other threads are locking; the children lock and create threads too
 * unmap    a mutex that the next owner destroys and unmaps as soon as it has it
 * shared   two processes, one mutex; and one of them dies with it */
#include <sched.h>

#include "waiting.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool is_over;

static void *locks_in_turn(void *m)
{
    while (!is_over) {
        pthread_mutex_lock(m);
        for (volatile int i = 0; i < 300; i++)
            ;
        pthread_mutex_unlock(m);
    }
    return NULL;
}

static void *locks_often(void *m)
{
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(m);
        if (i % 20 == 0) /* each costs a turn of everything that runs on this processor */
            sched_yield();
        pthread_mutex_unlock(m);
    }
    return NULL;
}

static int in_child(void)
{
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, locks_often, &own))
            return 3;
    locks_often(&own);
    for (int i = 0; i < 2; i++)
        if (pthread_join(threads[i], NULL))
            return 4;
    return 7;
}

static void forks(void)
{
    pthread_t threads[3];
    int n = 0;
    for (int i = 0; i < 3; i++)
        check(!pthread_create(&threads[i], NULL, locks_in_turn, &mutex), "pthread_create");
    for (int i = 0; i < 200; i++) {
        int status = 0;
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0)
            _exit(in_child());
        check(child > 0 && waitpid(child, &status, 0) == child, "fork");
        n += WIFEXITED(status) && WEXITSTATUS(status) == 7;
    }
    is_over = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("%d children\n", n);
}

/* ---- unmapped ---- */

static void *gets_and_unmaps(void *m)
{
    pthread_mutex_lock(m);
    pthread_mutex_unlock(m);
    pthread_mutex_destroy(m);
    check(!munmap(m, 4096), "munmap");
    return NULL;
}

NAMED void unmaps(void)
{
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_t *m =
            mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        pthread_t thread;
        check(m != MAP_FAILED && !pthread_mutex_init(m, NULL), "mmap");
        pthread_mutex_lock(m);
        check(!pthread_create(&thread, NULL, gets_and_unmaps, m), "pthread_create");
        while (*(volatile int *)m != 2)
            sched_yield();
        pthread_mutex_unlock(m);
        pthread_join(thread, NULL);
    }
    puts("unmapped");
}

/* ---- shared ---- */

struct shared {
    pthread_mutex_t mutex;
    _Atomic pid_t child;
};

NAMED int waits_for_the_other_process(struct shared *shared)
{
    int err = pthread_mutex_lock(&shared->mutex);
    KEEP(err);
    return err;
}

static bool is_process_in_futex(pid_t pid)
{
    char path[64], text[16] = "";
    snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
    FILE *file = fopen(path, "r");
    if (file) {
        if (!fgets(text, sizeof text, file))
            *text = '\0';
        fclose(file);
    }
    return !strncmp(text, "202 ", 4);
}

static void shares(void)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attr;
    int status = 0;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->mutex, &attr);
    pthread_mutex_lock(&shared->mutex);
    const pid_t child = fork();
    if (child == 0) {
        check(waits_for_the_other_process(shared) == 0, "the child's lock");
        atomic_store(&shared->child, getpid());
        const pid_t parent = getppid();
        while (!is_process_in_futex(parent))
            sched_yield();
        sleep_until(now_ns() + 20000000);
        exit(0); /* with the mutex */
    }
    while (!is_process_in_futex(child))
        sched_yield();
    sleep_until(now_ns() + 20000000);
    pthread_mutex_unlock(&shared->mutex);
    while (!atomic_load(&shared->child))
        sched_yield();
    const int err = waits_for_the_other_process(shared);
    check(waitpid(child, &status, 0) == child && status == 0, "the child");
    printf("owner dead: %d\n", err == EOWNERDEAD);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "fork"))
        forks();
    else if (!strcmp(what, "unmap"))
        unmaps();
    else if (!strcmp(what, "shared"))
        shares();
    return 0;
}
