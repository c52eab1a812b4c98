/* A handler leaves by siglongjmp while the program allocates and frees; the allocator survives that, so must the agent.
 * needs: libbump
 * flags: @BUILT@/libbump.so -Wl,-rpath,@BUILT@ */
#include <setjmp.h>

#include "victim.h"

static sigjmp_buf back;
static volatile int n_jumps;
static void *volatile kept[100];

static void on_alarm(int signo)
{
    (void)signo;
    n_jumps++;
    siglongjmp(back, 1);
}

NAMED void before_jumps(void)
{
    for (;;) {
        void *p = malloc(opaque(100));
        KEEP(p);
        void *q = realloc(p, opaque(200));
        KEEP(q);
        free(q);
    }
}

NAMED void after_jumps(void)
{
    for (int i = 0; i < 100; i++)
        kept[i] = malloc(opaque(640));
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    if (sigsetjmp(back, 1) == 0 || n_jumps < 3000) {
        struct itimerval once = {
            {0, 0                },
            {0, 60 + n_jumps % 90}
        };
        setitimer(ITIMER_REAL, &once, NULL);
        before_jumps();
    }
    after_jumps();
    printf("%d jumps\n", n_jumps);
    return 0;
}
