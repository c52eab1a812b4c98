/* A timer's handler allocates and frees whenever the program itself is not inside malloc, also while the agent writes a
 * snapshot.  Prints nothing of the counts: they vary. */
#include "victim.h"

static volatile sig_atomic_t in_malloc, n_handled;

NAMED void *from_handler(void)
{
    void *p = malloc(opaque(400));
    KEEP(p);
    return p;
}

static void on_alarm(int signo)
{
    (void)signo;
    int kept = errno;
    if (!in_malloc) {
        void *p = from_handler();
        p = realloc(p, opaque(900));
        KEEP(p);
        free(p);
        n_handled++;
    }
    errno = kept;
}

NAMED void *main_allocates(void)
{
    in_malloc = 1;
    void *p = malloc(opaque(500));
    KEEP(p);
    in_malloc = 0;
    return p;
}

int main(int argc, char **argv)
{
    bool snapshots = argc > 1;
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {
        {0, 97},
        {0, 97}
    };
    setitimer(ITIMER_REAL, &every, NULL);
    for (int i = 0; n_handled < (snapshots ? 1500 : 5000); i++) { /* some 150 snapshots */
        void *p = main_allocates();
        for (volatile int spin = 0; spin < 300; spin++)
            ;
        in_malloc = 1;
        free(p);
        in_malloc = 0;
        if (snapshots && i % 5000 == 0)
            raise(SIGUSR2);
    }
    every = (struct itimerval){0};
    setitimer(ITIMER_REAL, &every, NULL);
    return 0;
}
