/* Programs that use SIGPROF themselves, as profilers and gprof do, by argv[1]; prints what they see. */
#include <sys/signalfd.h>
#include <sys/syscall.h>

#include "victim.h"

enum { TICKS = 100 };

static volatile sig_atomic_t n_ticks, n_elsewhere;
static pid_t main_tid;

static void on_tick(int signo, siginfo_t *info, void *context)
{
    (void)context;
    n_ticks += signo == SIGPROF && info->si_code == SI_KERNEL;
    n_elsewhere += syscall(SYS_gettid) != main_tid;
}

static void set_timer(long us)
{
    const struct itimerval timer = {
        {0, us},
        {0, us}
    };

    check(setitimer(ITIMER_PROF, &timer, NULL) == 0, "setitimer");
}

static void show(const char *what)
{
    struct sigaction action;
    struct itimerval timer;

    sigaction(SIGPROF, NULL, &action);
    getitimer(ITIMER_PROF, &timer);
    printf("%s: %s, flags %x, every %ld us\n", what,
           action.sa_sigaction == on_tick ? "mine"
           : action.sa_handler == SIG_DFL ? "default"
                                          : "foreign",
           (unsigned)action.sa_flags, timer.it_interval.tv_usec);
}

NAMED void works(void)
{
    for (int i = 0; i < 1000; i++) {
        void *p = malloc(opaque(100));
        KEEP(p);
        free(p);
    }
}

static void handles_ticks(void)
{
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};

    show("at start");
    main_tid = (pid_t)syscall(SYS_gettid);
    sigaction(SIGPROF, &action, NULL);
    set_timer(4000);
    show("then");
    while (n_ticks < TICKS) {
        works();
        if (n_ticks == TICKS / 2)
            raise(SIGUSR1); /* CPROF_SIGNAL of the test; else ignored */
    }
    show("later");
    set_timer(0);
    printf("ticks of the kernel, in other threads %d\n", (int)n_elsewhere);
}

static void reads_ticks(void)
{
    struct signalfd_siginfo info;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPROF);
    sigprocmask(SIG_BLOCK, &set, NULL);
    const int fd = signalfd(-1, &set, SFD_NONBLOCK);
    set_timer(4000);
    for (int i = 0; i < TICKS / 2; works())
        i += read(fd, &info, sizeof info) == sizeof info;
    set_timer(0);
    printf("read %d\n", TICKS / 2);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (getenv("CPROF_SIGNAL") == NULL)
        signal(SIGUSR1, SIG_IGN);
    if (!strcmp(what, "handler"))
        handles_ticks();
    if (!strcmp(what, "signalfd"))
        reads_ticks();
    if (!strcmp(what, "default")) {
        set_timer(4000);
        for (;;)
            works();
    }
    return 3;
}
