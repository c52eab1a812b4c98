/* Says "ready", allocates and frees without pause on argv[1] threads (1: only main), and ends at SIGTERM. */
#include "victim.h"

static volatile sig_atomic_t stop;

static void on_term(int signo)
{
    (void)signo;
    stop = 1;
}

NAMED void *loops(void *unused)
{
    while (!stop) {
        void *p = malloc(opaque(2000));
        KEEP(p);
        void *q = calloc(opaque(100), 3);
        KEEP(q);
        p = realloc(p, opaque(4000));
        KEEP(p);
        free(q);
        free(p);
    }
    return unused;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 1;
    signal(SIGTERM, on_term);
    pthread_t threads[16];
    for (int i = 1; i < n; i++)
        check(!pthread_create(&threads[i], NULL, loops, NULL), "pthread_create");
    puts("ready");
    fflush(stdout);
    loops(NULL);
    for (int i = 1; i < n; i++)
        pthread_join(threads[i], NULL);
    puts("stopped");
    return 0;
}
