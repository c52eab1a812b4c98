/* Programs that use SIGUSR2 themselves, by argv[1]; prints what they see. */
#include <sys/signalfd.h>

#include "victim.h"

static volatile sig_atomic_t n_mine;

static void mine(int signo)
{
    (void)signo;
    n_mine++;
}

static void *volatile kept;

NAMED void keeps_something(void)
{
    kept = malloc(opaque(100000));
}

static const char *handler_name(void (*handler)(int))
{
    return handler == SIG_DFL   ? "default"
           : handler == SIG_IGN ? "ignored"
           : handler == mine    ? "mine"
                                : "foreign";
}

static void query(const char *what)
{
    struct sigaction action;
    sigaction(SIGUSR2, NULL, &action);
    printf("%s: %s flags %x\n", what, handler_name(action.sa_handler),
           (unsigned)action.sa_flags);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "query";
    keeps_something();
    if (!strcmp(what, "query")) {
        query("at start");
    } else if (!strcmp(what, "signal")) {
        printf("signal returned %s\n", handler_name(signal(SIGUSR2, mine)));
        query("then");
        raise(SIGUSR2);
        printf("handled %d\n", (int)n_mine);
        printf("signal returned %s\n", handler_name(signal(SIGUSR2, SIG_IGN)));
        raise(SIGUSR2);
        query("ignored then");
    } else if (!strcmp(what, "sigaction")) {
        struct sigaction action = {.sa_handler = mine, .sa_flags = SA_RESTART | SA_NODEFER},
                         old;
        sigaction(SIGUSR2, &action, &old);
        printf("before: %s\n", handler_name(old.sa_handler));
        query("then");
        for (int i = 0; i < 10; i++)
            raise(SIGUSR2);
        printf("handled %d\n", (int)n_mine);
    } else if (!strcmp(what, "sigwait")) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(SIGUSR2);
        int got = 0;
        sigwait(&set, &got);
        printf("waited for %d\n", got == SIGUSR2);
    } else if (!strcmp(what, "sent")) { /* to the process, by another one */
        sigset_t set;
        int got = 0;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        sigprocmask(SIG_BLOCK, &set, NULL);
        for (int i = 0; i < 50; i++) {
            const pid_t pid = fork();
            if (pid == 0) {
                kill(getppid(), SIGUSR2);
                _exit(0);
            }
            check(!sigwait(&set, &got) && waitpid(pid, NULL, 0) == pid, "sigwait");
        }
        struct signalfd_siginfo info;
        const int fd = signalfd(-1, &set, SFD_CLOEXEC);
        kill(getpid(), SIGUSR2);
        check(read(fd, &info, sizeof info) == sizeof info, "signalfd");
        printf("waited for %d, read %d\n", got == SIGUSR2, info.ssi_signo == SIGUSR2);
    } else if (!strcmp(what, "raise")) {
        raise(SIGUSR2);
        puts("went on");
    } else if (!strcmp(what, "raise-usr1")) {
        raise(SIGUSR1);
        puts("went on");
    } else if (!strcmp(what, "chdir-and-raise")) {
        check(!chdir("/"), "chdir");
        raise(SIGUSR2);
        puts("went on");
    }
    return 0;
}
