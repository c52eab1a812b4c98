/* A handler on an 8 KiB alternative stack allocates, and asks for a snapshot there. */
#include "victim.h"

static char *stack;

NAMED void *on_altstack(void)
{
    void *p = malloc(opaque(1234));
    KEEP(p);
    return p;
}

static void on_usr1(int signo)
{
    (void)signo;
    free(on_altstack());
}

int main(int argc, char **argv)
{
    (void)argv;
    /* Right below lies an inaccessible page: what overflows crashes. */
    char *memory =
        mmap(NULL, 8192 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    mprotect(memory, 4096, PROT_NONE);
    stack = memory + 4096;
    stack_t alternative = {.ss_sp = stack, .ss_size = 8192};
    check(!sigaltstack(&alternative, NULL), "sigaltstack");
    struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 1000; i++) {
        raise(SIGUSR1);
        if (argc > 1 && i % 100 == 0)
            raise(SIGUSR2);
    }
    puts("done");
    return 0;
}
