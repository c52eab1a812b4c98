/* A timer's handler on a 6 KiB alternative stack allocates when it interrupted the library whose path holds argv[1]. */
#include <link.h>
#include <ucontext.h>

#include "victim.h"

enum { SIZE = 6144 };
static uintptr_t code_low, code_high;
static volatile sig_atomic_t n_inside;

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
    if (pc - code_low >= code_high - code_low)
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

int main(int argc, char **argv)
{
    check(argc > 1 && dl_iterate_phdr(find_library, argv[1]), "no such library");
    /* Right below lies an inaccessible page: what overflows crashes. */
    char *memory =
        mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    mprotect(memory, 4096, PROT_NONE);
    stack_t alternative = {.ss_sp = memory + 4096, .ss_size = SIZE};
    check(!sigaltstack(&alternative, NULL), "sigaltstack");
    struct sigaction action = {.sa_sigaction = on_alarm,
                               .sa_flags = SA_ONSTACK | SA_SIGINFO | SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    const struct itimerval every =
                               {
                                   {0, 97},
                                   {0, 97}
    },
                           off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
    while (n_inside < 500) {
        void *p = malloc(opaque(100));
        KEEP(p);
        free(p);
    }
    setitimer(ITIMER_REAL, &off, NULL);
    puts("done");
    return 0;
}
