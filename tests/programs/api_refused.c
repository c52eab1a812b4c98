/* cprof_profile_write() where it cannot: in handlers that interrupt the agent, until one did and one did not, and without
 * memory.  Prints what it returned. */
#include "../../include/cprof.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "victim.h"

static cprof_profile *profile;
static int file;
static volatile sig_atomic_t n_written, n_busy, other, has_fired;

static void on_alarm(int number)
{
    const int err = cprof_profile_write(profile, file, 0);

    (void)number;
    if (err == EBUSY)
        n_busy++;
    else if (err == 0)
        n_written++;
    else
        other = err;
    has_fired = 1;
}

static void interrupt_allocations(void)
{
    const struct itimerval soon = {.it_value.tv_usec = 200};

    has_fired = 0;
    check(setitimer(ITIMER_REAL, &soon, NULL) == 0, "setitimer");
    while (!has_fired)
        free(malloc(opaque(100)));
}

static void try_without_memory(void)
{
    struct rlimit limit;

    check(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit");
    const struct rlimit none = {4096, limit.rlim_max};
    check(setrlimit(RLIMIT_AS, &none) == 0, "setrlimit");
    const int err = cprof_profile_write(profile, file, 0);
    check(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    printf("without memory: %s\n", strerror(err));
    printf("with memory: %d\n", cprof_profile_write(profile, file, 0));
}

int main(void)
{
    file = open("/dev/null", O_WRONLY);
    profile = cprof_profile_new("conn");
    check(profile && cprof_profile_add(profile, &file, 0) == 0, "add");
    signal(SIGALRM, on_alarm);
    while ((!n_written || !n_busy) && !other)
        interrupt_allocations();
    printf("in handlers: written and busy, else %d\n", other);
    try_without_memory();
    return 0;
}
