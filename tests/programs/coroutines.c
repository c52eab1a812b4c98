/* Sixty-four swapcontext coroutines on 32 KiB stacks that allocate in turn. */
#include <ucontext.h>

#include "victim.h"

enum { N = 64, ROUNDS = 20 };
static ucontext_t coroutines[N], scheduler;
static void *kept[N][ROUNDS];

NAMED void coroutine_allocates(int i, int round)
{
    kept[i][round] = malloc(opaque(256));
    KEEP(kept[i][round]);
}

static void body(int i)
{
    for (int round = 0; round < ROUNDS; round++) {
        coroutine_allocates(i, round);
        swapcontext(&coroutines[i], &scheduler);
    }
}

int main(void)
{
    for (int i = 0; i < N; i++) {
        getcontext(&coroutines[i]);
        coroutines[i].uc_stack.ss_sp =
            mmap(NULL, 32768, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        coroutines[i].uc_stack.ss_size = 32768;
        coroutines[i].uc_link = &scheduler;
        makecontext(&coroutines[i], (void (*)(void))body, 1, i);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < N; i++)
            swapcontext(&scheduler, &coroutines[i]);
    puts("done");
    return 0;
}
