/* A parent with four allocating threads forks N times; every child starts two threads that allocate, and exits.
 * Prints how many children hung or failed. */
#include "victim.h"

static volatile bool stop;

NAMED void *churns(void *unused)
{
    while (!stop) {
        void *p = malloc(opaque(3000));
        KEEP(p);
        void *q = malloc(opaque(700));
        KEEP(q);
        free(p);
        free(q);
    }
    return unused;
}

NAMED void *child_work(void *unused)
{
    for (int i = 0; i < 500; i++) {
        void *p = malloc(opaque(2000));
        KEEP(p);
        if (i % 2)
            free(p);
    }
    return unused;
}

static void child(void)
{
    alarm(90); /* a child that hangs is killed, and counted by its parent */
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, child_work, NULL))
            _exit(3);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    exit(0);
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 200;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        check(!pthread_create(&threads[i], NULL, churns, NULL), "pthread_create");
    int hung = 0, failed = 0;
    for (int i = 0; i < n && !hung; i++) {
        pid_t pid = fork();
        check(pid >= 0, "fork");
        if (pid == 0)
            child();
        int status;
        check(waitpid(pid, &status, 0) == pid, "waitpid");
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            hung++;
        else if (status)
            failed++;
    }
    stop = true;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    printf("%d hung, %d failed\n", hung, failed);
    return 0;
}
