/* Threads that load, use and unload the same libraries all the time: dlopen_threads LIBRARY LIBRARY TIMES */
#include <dlfcn.h>

#include "victim.h"

static char **paths;
static long times;

static void *churn(void *arg)
{
    for (long i = 0; i < times; i++) {
        void *library = dlopen(paths[((size_t)arg + (size_t)i) % 2], RTLD_NOW);
        check(library != NULL, "dlopen");
        void *(*plug)(size_t) = (void *(*)(size_t))dlsym(library, "plug");
        free(plug(100));
        check(dlclose(library) == 0, "dlclose");
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[4];

    check(argc == 4, "arguments");
    paths = argv + 1;
    times = atol(argv[3]);
    for (size_t i = 0; i < 4; i++)
        check(pthread_create(&threads[i], NULL, churn, (void *)i) == 0, "thread");
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    puts("joined");
    return 0;
}
