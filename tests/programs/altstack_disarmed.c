/* While a handler runs on an SS_AUTODISARM stack the kernel says that there is none.  A timer's handler on such a stack, at a
 * higher address than the thread's own, allocates when it interrupted the library whose path holds argv[1]. */
#include "interrupted_library.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

enum { SIZE = 64 << 10, OWN = 256 << 10 };
static char *memory;

static void *allocate(void *arg)
{
    stack_t alternative = {
        .ss_sp = memory + OWN, .ss_size = SIZE, .ss_flags = (int)SS_AUTODISARM};
    check(!sigaltstack(&alternative, NULL), "sigaltstack");
    allocate_until_interrupted(300);
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t alarm;

    (void)argc;
    find_library(argv[1]);
    memory = mmap(NULL, OWN + SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, memory, OWN);
    check(!pthread_create(&thread, &attr, allocate, NULL), "pthread_create");
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
    pthread_join(thread, NULL);
    puts("done");
    return 0;
}
