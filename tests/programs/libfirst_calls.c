/* A library whose constructor waits for a thread that duplicates a descriptor. */
#include "victim.h"

static void *duplicates(void *unused)
{
    const int copy = dup(STDOUT_FILENO);

    (void)unused;
    return copy >= 0 && close(copy) == 0 ? &errno : NULL;
}

__attribute__((constructor)) static void load(void)
{
    pthread_t thread;
    void *result = NULL;

    check(!pthread_create(&thread, NULL, duplicates, NULL), "a thread");
    pthread_join(thread, &result);
    check(result != NULL, "dup");
}
