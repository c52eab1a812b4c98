/* A library between the agent and libc whose function is chosen when it is looked up, which allocates; the program gives
 * that back at its end. */
#include "victim.h"

static void *kept;

static void *serves_none(size_t size)
{
    (void)size;
    return NULL;
}

static void *(*choose(void))(size_t)
{
    if (!kept)
        kept = calloc(10, 10);
    return serves_none;
}

void *valloc(size_t size) __attribute__((ifunc("choose")));

static void give_back(void)
{
    static const char none[] = "nobody asked\n", done[] = "given back\n";
    const char *said = kept ? done : none;

    free(kept);
    if (write(STDOUT_FILENO, said, strlen(said)) < 0)
        abort();
}

__attribute__((constructor)) static void load(void)
{
    atexit(give_back);
}
