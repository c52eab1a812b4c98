/* Four threads ask for snapshots without end, by argv[1] (api or signal), while main returns 5. */
#include "../../include/cprof.h"

#include "victim.h"

static bool by_signal;
static int n_calls;

NAMED void kept_by_atexit(void)
{
    static void *volatile kept;

    kept = malloc(opaque(1234));
}

static void *asks(void *arg)
{
    for (;;) {
        if (by_signal)
            raise(SIGUSR2);
        else
            cprof_snapshot();
        __atomic_add_fetch(&n_calls, 1, __ATOMIC_SEQ_CST);
    }
    return arg;
}

int main(int argc, char **argv)
{
    enum { THREADS = 4 };

    by_signal = argc > 1 && !strcmp(argv[1], "signal");
    atexit(kept_by_atexit);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        check(pthread_create(&thread, NULL, asks, NULL) == 0, "pthread_create");
    }
    while (__atomic_load_n(&n_calls, __ATOMIC_SEQ_CST) <
           1000) /* one serves, the others return */
        usleep(100);
    return 5;
}
