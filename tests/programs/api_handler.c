/* A signal handler that adds and removes values, often inside an operation of the same kind; and one that leaves by
 * siglongjmp. */
#include "../../include/cprof.h"

#include <setjmp.h>

#include "victim.h"

static cprof_profile *profile;
static volatile uintptr_t n_handled;
static sigjmp_buf back;
static volatile sig_atomic_t may_jump, n_jumps;

static void on_alarm(int sig)
{
    const uintptr_t value = ((uintptr_t)1 << 40) + n_handled;

    (void)sig;
    if (cprof_profile_add(profile, (void *)value, 0) == 0)
        n_handled++;
    cprof_profile_remove(profile, (void *)(value - 1));
    if (may_jump && n_handled % 4 == 0) {
        may_jump = 0;
        n_jumps++;
        siglongjmp(back, 1);
    }
}

int main(void)
{
    const struct itimerval often = {.it_interval.tv_usec = 100, .it_value.tv_usec = 100};
    const struct itimerval never = {.it_value.tv_usec = 0};
    volatile uintptr_t n = 0;

    profile = cprof_profile_new("value");
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    sigsetjmp(back, 1);
    while (n_handled < 2000) {
        may_jump = 1;
        cprof_profile_add(profile, (void *)n, 0);
        cprof_profile_remove(profile, (void *)n);
        n++;
    }
    may_jump = 0;
    setitimer(ITIMER_REAL, &never, NULL);
    for (uintptr_t i = 0; i <= n; i++)
        cprof_profile_remove(profile, (void *)i);
    check(cprof_profile_add(profile, "one more", 0) == 0, "add");
    printf("jumps %d, live %zu\n", (int)n_jumps, cprof_profile_count(profile));
    return 0;
}
