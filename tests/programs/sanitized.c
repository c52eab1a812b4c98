/* What a sanitizer looks at: threads, locks, a fork, much malloc, exec; argv[1]: "" or a fault. */
#include "victim.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *volatile kept[500];
static int counter;

static void *works(void *arg)
{
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
        free(realloc(malloc(opaque(100 + i)), 3000));
    }
    return arg;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        check(!pthread_create(&threads[i], NULL, works, NULL), "thread");
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 500; i++)
        kept[i] = malloc(opaque(50));
    for (int i = 0; i < 500; i++)
        free(kept[i]);
    const pid_t pid = fork();
    if (pid == 0) {
        free(malloc(opaque(10)));
        _exit(4);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("%d %d\n", counter, WEXITSTATUS(status));
    fflush(stdout);
    if (!strcmp(what, "use-after-free"))
        printf("%d\n", ((volatile char *)kept[7])[3]);
    if (!strcmp(what, "signal"))
        raise(SIGTERM);
    return 3;
}
