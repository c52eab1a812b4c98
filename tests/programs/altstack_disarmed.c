/* While a handler runs on an SS_AUTODISARM stack the kernel says that there is none.  A timer's handler on such a stack, at a
 * higher address than the thread's own, allocates when it interrupted the library whose path holds argv[1]. */
#include <link.h>
#include <ucontext.h>

#include "victim.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

enum { SIZE = 64 << 10, OWN = 256 << 10, N = 300 };
static uintptr_t code_low, code_high;
static volatile sig_atomic_t n_inside;
static char *memory;

NAMED void *on_altstack(void)
{
    void *p = malloc(opaque(1234));
    KEEP(p);
    return p;
}

static void on_alarm(int signo, siginfo_t *info, void *context)
{
    const ucontext_t *interrupted = context;
    uintptr_t pc = (uintptr_t)interrupted->uc_mcontext.gregs[REG_RIP];
    (void)signo;
    (void)info;
    if (pc - code_low >= code_high - code_low || n_inside == N)
        return;
    free(on_altstack());
    n_inside++;
}

static int find_library(struct dl_phdr_info *object, size_t size, void *wanted)
{
    (void)size;
    if (!*object->dlpi_name || !strstr(object->dlpi_name, wanted))
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && segment->p_flags & PF_X) {
            code_low = object->dlpi_addr + segment->p_vaddr;
            code_high = code_low + segment->p_memsz;
        }
    }
    return 1;
}

static void *allocate(void *arg)
{
    stack_t alternative = {
        .ss_sp = memory + OWN, .ss_size = SIZE, .ss_flags = (int)SS_AUTODISARM};
    check(!sigaltstack(&alternative, NULL), "sigaltstack");
    const struct itimerval every =
                               {
                                   {0, 97},
                                   {0, 97}
    },
                           off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
    while (n_inside < N) {
        void *p = malloc(opaque(100));
        KEEP(p);
        free(p);
    }
    setitimer(ITIMER_REAL, &off, NULL);
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t alarm;
    check(argc > 1 && dl_iterate_phdr(find_library, argv[1]), "no such library");
    memory = mmap(NULL, OWN + SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    struct sigaction action = {.sa_sigaction = on_alarm,
                               .sa_flags = SA_ONSTACK | SA_SIGINFO | SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
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
