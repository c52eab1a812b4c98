/* One thread loads OTHER, and what the agent then looks through it does while another thread is in the middle of loading
 * LIBRARY: half_loaded LIBRARY OTHER
 * flags: -rdynamic */
#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include "half_loaded.h"
#include "victim.h"

static __thread int is_loader_of_other;

static void await(_Atomic int *step)
{
    while (!*step)
        sched_yield();
}

typedef int looker(int (*visit)(struct dl_phdr_info *info, size_t size, void *arg), void *arg);
static looker *real; /* found by the first call: dlsym() waits while something is loaded */

/* The agent's call comes here. */
int dl_iterate_phdr(int (*visit)(struct dl_phdr_info *info, size_t size, void *arg), void *arg)
{
    if (!real)
        real = (looker *)dlsym(RTLD_NEXT, "dl_iterate_phdr");
    if (is_loader_of_other) {
        STEPS->is_other_loaded = 1;
        await(&STEPS->is_resolving);
    }
    return real(visit, arg);
}

static void *load_other(void *path)
{
    is_loader_of_other = 1;
    check(dlopen(path, RTLD_NOW) != NULL, "other");
    is_loader_of_other = 0;
    STEPS->is_other_loaded = 1;
    STEPS->is_looked_through = 1;
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;

    check(argc == 3, "arguments");
    check(mmap(STEPS, sizeof *STEPS, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == STEPS,
          "page");
    check(pthread_create(&thread, NULL, load_other, argv[2]) == 0, "thread");
    await(&STEPS->is_other_loaded);
    void *library = dlopen(argv[1], RTLD_LAZY);
    check(library != NULL, "dlopen");
    void *(*allocates)(size_t) = (void *(*)(size_t))dlsym(library, "half_allocates");
    check(allocates(10) != NULL, "allocates");
    pthread_join(thread, NULL);
    puts("loaded");
    return 0;
}
