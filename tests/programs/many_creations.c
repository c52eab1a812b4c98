/* Threads that come and go: `small` on the smallest stacks, contending; `keys` with every pthread key taken;
 * `100000`: so many, joined and detached by turns, with the RSS in KiB after a tenth of them and after all. */
#include <limits.h>
#include <sched.h>
#include <semaphore.h>

#include "waiting.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sem_t ended;
static long sum;

NAMED void contends(void)
{
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&mutex);
        sum++;
        if (i % 50 == 0)
            sched_yield();
        pthread_mutex_unlock(&mutex);
    }
}
static void *contends_main(void *unused)
{
    contends();
    return unused;
}

static void contend_in_threads(size_t stack_bytes)
{
    pthread_attr_t attr;
    pthread_t threads[8];
    pthread_attr_init(&attr);
    if (stack_bytes)
        check(!pthread_attr_setstacksize(&attr, stack_bytes), "pthread_attr_setstacksize");
    for (int round = 0; round < 20; round++) {
        pthread_mutex_lock(&mutex);
        for (int i = 0; i < 8; i++)
            check(!pthread_create(&threads[i], &attr, contends_main, NULL), "pthread_create");
        pthread_mutex_unlock(&mutex);
        for (int i = 0; i < 8; i++)
            check(!pthread_join(threads[i], NULL), "pthread_join");
    }
    printf("%ld\n", sum);
}

static long rss_kib(void)
{
    long pages = 0, unused;
    FILE *file = fopen("/proc/self/statm", "r");
    check(file && fscanf(file, "%ld %ld", &unused, &pages) == 2, "/proc/self/statm");
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void *ends_at_once(void *unused)
{
    return unused;
}
static void *says_that_it_ends(void *unused)
{
    sem_post(&ended);
    return unused;
}

NAMED void creates_many(int n)
{
    for (int i = 0; i < n; i++) {
        pthread_t thread;
        if (i % 2) {
            check(!pthread_create(&thread, NULL, ends_at_once, NULL), "pthread_create");
            pthread_join(thread, NULL);
        } else {
            check(!pthread_create(&thread, NULL, says_that_it_ends, NULL), "pthread_create");
            pthread_detach(thread);
            while (sem_wait(&ended))
                ;
        }
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    sem_init(&ended, 0, 0);
    if (!strcmp(what, "small")) {
        contend_in_threads(PTHREAD_STACK_MIN);
    } else if (!strcmp(what, "keys")) {
        pthread_key_t key;
        int n = 0;
        while (!pthread_key_create(&key, NULL))
            n++;
        printf("%d of %d\n", n, PTHREAD_KEYS_MAX);
        contend_in_threads(0);
    } else {
        const int n = atoi(what);
        creates_many(n / 10);
        printf("%ld\n", rss_kib());
        creates_many(n - n / 10);
        printf("%ld\n", rss_kib());
    }
    return 0;
}
