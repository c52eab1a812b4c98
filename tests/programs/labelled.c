/* Two threads that wait for ever, one with labels, and a snapshot of that; prints what cprof_label_set() returned. */
#include "../../include/cprof.h"
#include "victim.h"
#include "waiting.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_tid tids[2];

NAMED void wait_with_labels(void)
{
    pthread_mutex_lock(&mutex);
}

NAMED void wait_without(void)
{
    pthread_mutex_lock(&mutex);
}

static void *labelled(void *unused)
{
    errno = 77;
    const int set = cprof_label_set("tenant", "acme"), other = cprof_label_set("job", "x");
    const int taken_off = cprof_label_set("job", NULL), refused = cprof_label_set("state", "x");
    printf("%d %d %d %d errno %d\n", set, other, taken_off, refused, errno);
    fflush(stdout);
    tids[0] = gettid();
    wait_with_labels();
    return unused;
}

static void *plain(void *unused)
{
    tids[1] = gettid();
    wait_without();
    return unused;
}

int main(void)
{
    pthread_t thread;

    pthread_mutex_lock(&mutex);
    pthread_create(&thread, NULL, labelled, NULL);
    pthread_create(&thread, NULL, plain, NULL);
    for (int i = 0; i < 2; i++)
        await_waiting(&tids[i]);
    cprof_snapshot();
    _exit(0);
}
