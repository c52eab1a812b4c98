/* Threads of PTHREAD_STACK_MIN that allocate in every way, ten calls deep. */
#include <limits.h>

#include "victim.h"

NAMED void *on_small_stack(int depth)
{
    if (depth > 0) {
        void *p = on_small_stack(depth - 1);
        KEEP(p);
        return p;
    }
    void *p = malloc(opaque(100));
    KEEP(p);
    p = realloc(p, opaque(3000));
    KEEP(p);
    free(p);
    p = NULL;
    check(!posix_memalign(&p, 64, opaque(1000)), "posix_memalign");
    free(p);
    p = calloc(opaque(10), 10);
    KEEP(p);
    return p;
}

static void *thread_main(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++)
        free(on_small_stack(10));
    raise(SIGWINCH);
    return NULL;
}

int main(void)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    check(!pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN), "pthread_attr_setstacksize");
    for (int round = 0; round < 10; round++) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            check(!pthread_create(&threads[i], &attr, thread_main, NULL), "pthread_create");
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    puts("done");
    return 0;
}
