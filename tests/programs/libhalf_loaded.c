/* A library in the middle of whose relocation the program does something else.
 * flags: -Wl,-z,lazy -Wl,-z,relro */
#include <sys/syscall.h>

#include "half_loaded.h"
#include "victim.h"

static int one(void)
{
    return 1;
}

/* No function of a library can be called yet. */
static void yield(void)
{
#if defined(__aarch64__)
    register long number __asm__("x8") = SYS_sched_yield;
    register long result __asm__("x0");

    __asm__ volatile("svc 0" : "=r"(result) : "r"(number) : "memory");
#else
    long result;

    __asm__ volatile("syscall" : "=a"(result) : "0"(SYS_sched_yield) : "rcx", "r11", "memory");
#endif
}

static int (*resolve(void))(void)
{
    STEPS->is_resolving = 1;
    while (!STEPS->is_looked_through)
        yield();
    return one;
}

int half_chosen(void) __attribute__((ifunc("resolve")));
int (*const half_pointer)(void) = half_chosen;

NAMED void *half_allocates(size_t n)
{
    void *p = malloc(n * (size_t)half_pointer());
    KEEP(p);
    return p;
}
