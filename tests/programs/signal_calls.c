/* What the calls of the signal family return and leave behind, for the snapshot signal and another one. */
#include <sys/wait.h>

#include "victim.h"

static void handler(int signo)
{
    (void)signo;
}

static const char *name_of(sighandler_t h)
{
    return h == SIG_DFL   ? "SIG_DFL"
           : h == SIG_IGN ? "SIG_IGN"
           : h == handler ? "own"
           : h == SIG_ERR ? "SIG_ERR"
                          : "?";
}

/* A child that has brought a handler and then goes back to the default dies of the signal. */
static int status_of_child(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGUSR2, handler);
        signal(SIGUSR2, SIG_DFL);
        raise(SIGUSR2);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return status;
}

/* siginterrupt() before signal(): read() is interrupted, not restarted.  The first signals may come before it. */
static int interrupted_errno(void)
{
    int fds[2];
    char c;
    check(pipe(fds) == 0, "pipe");
    siginterrupt(SIGALRM, 1);
    signal(SIGALRM, handler);
    const struct itimerval again = {
        {0, 20000},
        {0, 20000}
    };
    setitimer(ITIMER_REAL, &again, NULL);
    return read(fds[0], &c, 1) < 0 ? errno : 0;
}

int main(void)
{
    struct sigaction seen;
    printf("child: signal %d\n", WTERMSIG(status_of_child()));
    printf("sysv_signal: %s\n", name_of(sysv_signal(SIGUSR2, handler)));
    printf("signal: %s\n", name_of(signal(SIGUSR2, SIG_IGN)));
    sigaction(SIGUSR2, NULL, &seen);
    printf("sigaction: %s\n", name_of(seen.sa_handler));
    printf("signal: %s\n", name_of(signal(SIGUSR2, SIG_DFL)));
    printf("SIGKILL: %s, %s\n", name_of(signal(SIGKILL, handler)), strerror(errno));
    printf("read: %s\n", strerror(interrupted_errno()));
    return 0;
}
