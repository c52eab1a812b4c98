/* A coroutine allocates deep in a big stack; the stack is unmapped, and where it lay a small one stands between pages that
 * cannot be touched.  There an allocation with 2 KiB left must not believe what was true of the big one. */
#include <ucontext.h>

#include "victim.h"

enum { BIG = 1 << 20, SMALL = 64 << 10, LEFT = 2 << 10 };
static ucontext_t of_main, of_coroutine;
static char *stack_low;

NAMED void deep_allocates(void)
{
    void *p = malloc(opaque(300));
    KEEP(p);
}

NAMED void near_the_end_allocates(void)
{
    void *p = malloc(opaque(400));
    KEEP(p);
}

static void sink_to(char *low, void (*work)(void))
{
    char *here = __builtin_frame_address(0);
    volatile char *room = __builtin_alloca(here - low);
    room[0] = 1;
    work();
    room[0]++;
}

static void on_big_stack(void)
{
    sink_to(stack_low + BIG / 4, deep_allocates);
}

static void on_small_stack(void)
{
    sink_to(stack_low + LEFT, near_the_end_allocates);
}

static void run_coroutine(char *low, size_t size, void (*body)(void))
{
    stack_low = low;
    getcontext(&of_coroutine);
    of_coroutine.uc_stack.ss_sp = low;
    of_coroutine.uc_stack.ss_size = size;
    of_coroutine.uc_link = &of_main;
    makecontext(&of_coroutine, body, 0);
    swapcontext(&of_main, &of_coroutine);
}

static void *run_both(void *arg)
{
    char *big = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(big != MAP_FAILED, "mmap");
    run_coroutine(big, BIG, on_big_stack);
    check(!munmap(big, BIG), "munmap");
    check(mmap(big, BIG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == big,
          "mmap");
    check(!mprotect(big + BIG / 2, SMALL, PROT_READ | PROT_WRITE), "mprotect");
    run_coroutine(big + BIG / 2, SMALL, on_small_stack);
    munmap(big, BIG);
    return arg;
}

int main(void)
{
    pthread_t thread;
    run_both(NULL);
    check(!pthread_create(&thread, NULL, run_both, NULL), "pthread_create");
    pthread_join(thread, NULL);
    puts("done");
    return 0;
}
