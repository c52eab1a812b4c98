/* Ends in the way of argv[1] after keeping something. */
#include <sys/syscall.h>

#include "victim.h"

static void *volatile kept;

NAMED void kept_at_exit(void)
{
    kept = malloc(opaque(4321));
}

static void *volatile late;

NAMED void kept_by_atexit(void)
{
    late = malloc(opaque(1234));
}

static void clean_up_and_die(int number)
{
    kept_by_atexit();
    signal(number, SIG_DFL);
    raise(number);
}

static void clean_up_and_leave(int number)
{
    (void)number;
    _exit(21);
}

static void wait_for_signal(void)
{
    puts("waiting");
    fflush(stdout);
    for (;;)
        pause();
}

/* Waits with a mask of its own, which blocks the signal again as soon as a handler returns. */
static void wait_unblocking(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, NULL);
    puts("waiting");
    fflush(stdout);
    sigemptyset(&set);
    sigsuspend(&set);
    check(false, "the signal did not kill within sigsuspend()");
}

static void *waits(void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

static void ask(int number)
{
    struct sigaction action;
    check(!sigaction(number, NULL, &action), "sigaction");
    printf("%d: default %d, flags %x\n", number, action.sa_handler == SIG_DFL, action.sa_flags);
    printf("signal: default %d\n", signal(number, SIG_DFL) == SIG_DFL);
    printf("signal: default %d\n", signal(number, SIG_IGN) == SIG_DFL);
    printf("signal: ignored %d\n", signal(number, SIG_DFL) == SIG_IGN);
    printf("signal: default %d\n", signal(number, SIG_DFL) == SIG_DFL);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "return";
    pthread_t thread;

    atexit(kept_by_atexit);
    at_quick_exit(kept_by_atexit);
    kept_at_exit();
    puts("before the end");
    if (!strcmp(how, "exit"))
        exit(12);
    fflush(stdout);
    if (!strcmp(how, "_exit"))
        _exit(13);
    if (!strcmp(how, "_Exit"))
        _Exit(14);
    if (!strcmp(how, "quick_exit"))
        quick_exit(15);
    if (!strcmp(how, "exit_group"))
        syscall(SYS_exit_group, 16);
    if (!strcmp(how, "in-handler")) {
        signal(SIGTERM, clean_up_and_leave);
        raise(SIGTERM);
    }
    if (!strcmp(how, "raise-TERM"))
        raise(SIGTERM);
    if (!strcmp(how, "thread-wait")) {
        pthread_create(&thread, NULL, waits, NULL);
        wait_for_signal();
    }
    if (!strcmp(how, "wait"))
        wait_for_signal();
    if (!strcmp(how, "sigsuspend"))
        wait_unblocking(SIGTERM);
    if (!strcmp(how, "cleans-up")) {
        signal(SIGTERM, clean_up_and_die);
        wait_for_signal();
    }
    if (!strcmp(how, "ask"))
        for (int i = 0; i < 3; i++)
            ask((int[]){SIGTERM, SIGINT, SIGHUP}[i]);
    if (!strcmp(how, "ignores")) {
        signal(SIGTERM, SIG_IGN);
        raise(SIGTERM);
    }
    if (!strcmp(how, "abort"))
        abort();
    if (!strcmp(how, "segv"))
        *(volatile char *)opaque(16) = 1;
    if (!strcmp(how, "raise-SEGV"))
        raise(SIGSEGV);
    if (!strcmp(how, "child-killed")) {
        const pid_t pid = fork();
        while (pid == 0)
            pause();
        int status;
        kill(pid, SIGTERM);
        waitpid(pid, &status, 0);
        printf("child: signal %d\n", WTERMSIG(status));
    }
    if (!strcmp(how, "vfork-killed")) {
        const pid_t pid = vfork();
        if (pid == 0) {
            kill(getpid(), SIGTERM);
            _exit(1);
        }
        int status;
        waitpid(pid, &status, 0);
        printf("child: signal %d\n", WTERMSIG(status));
    }
    return 11;
}
