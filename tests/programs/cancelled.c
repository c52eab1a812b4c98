/* Threads that are cancelled while they allocate: at cancellation points only, as POSIX allows. */
#include "victim.h"

static void frees(void *p)
{
    free(p);
}

NAMED void *freed_when_cancelled(void)
{
    void *p = malloc(opaque(700));
    KEEP(p);
    return p;
}

static void *thread_main(void *unused)
{
    for (;;) {
        void *p = freed_when_cancelled();
        pthread_cleanup_push(frees, p);
        pthread_testcancel();
        pthread_cleanup_pop(1);
    }
    return unused;
}

int main(void)
{
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        void *result;
        check(!pthread_create(&thread, NULL, thread_main, NULL), "pthread_create");
        pthread_cancel(thread);
        pthread_join(thread, &result);
        check(result == PTHREAD_CANCELED, "pthread_cancel");
    }
    puts("done");
    return 0;
}
