/* clock_steps - says ready, then reads numbers, one a line: sets CLOCK_REALTIME forward or back by so many seconds, for
 * this process only, and says ok.  It stands in front of libc with a clock_gettime() of its own.
 * flags: -rdynamic */
#include <stdatomic.h>
#include <sys/syscall.h>

#include "victim.h"

static _Atomic long offset_s;
static void *volatile kept;

int clock_gettime(clockid_t id, struct timespec *now)
{
    long result;

#ifdef __x86_64__ /* no libc: the agent's thread calls it, too */
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_clock_gettime), "D"((long)id), "S"(now)
                     : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = SYS_clock_gettime;
    register long x0 __asm__("x0") = id;
    register long x1 __asm__("x1") = (long)now;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    result = x0;
#endif
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
        now->tv_sec += atomic_load(&offset_s);
    return (int)result;
}

NAMED void keeps_one(void)
{
    kept = malloc(opaque(1000));
}

int main(void)
{
    long seconds;

    setvbuf(stdout, NULL, _IOLBF, 0);
    keeps_one();
    printf("ready\n");
    while (scanf("%ld", &seconds) == 1) {
        atomic_fetch_add(&offset_s, seconds);
        printf("ok\n");
    }
    return 0;
}
