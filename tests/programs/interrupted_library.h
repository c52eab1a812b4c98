/* interrupted_library.h - a timer whose handler allocates when it interrupted code of one library: the one whose path
 * holds the text given to find_library(). */
#ifndef INTERRUPTED_LIBRARY_H
#define INTERRUPTED_LIBRARY_H

#include <link.h>

#include "victim.h"

static uintptr_t code_low, code_high;
static volatile sig_atomic_t n_inside, n_wanted;

NAMED void *on_altstack(void)
{
    void *p = malloc(opaque(1234));
    KEEP(p);
    return p;
}

static void on_alarm(int signo, siginfo_t *info, void *context)
{
    const uintptr_t pc = interrupted_pc(context);
    (void)signo;
    (void)info;
    if (pc - code_low >= code_high - code_low || n_inside == n_wanted)
        return; /* elsewhere, or once more before the timer is off */
    free(on_altstack());
    n_inside++;
}

static int find_code(struct dl_phdr_info *object, size_t size, void *wanted)
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

static void find_library(char *part_of_path)
{
    check(part_of_path && dl_iterate_phdr(find_code, part_of_path), "no such library");
}

/* On the alternate stack that the calling thread has set. */
static void allocate_until_interrupted(int n_times)
{
    const struct sigaction action = {.sa_sigaction = on_alarm,
                                     .sa_flags = SA_ONSTACK | SA_SIGINFO | SA_RESTART};
    const struct itimerval every = {.it_interval.tv_usec = 97, .it_value.tv_usec = 97},
                           off = {0};

    n_wanted = n_times;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    while (n_inside < n_times) {
        void *p = malloc(opaque(100));
        KEEP(p);
        free(p);
    }
    setitimer(ITIMER_REAL, &off, NULL);
}

#endif
