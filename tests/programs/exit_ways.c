/* Ends in the way of argv[1] after keeping something. */
#include "victim.h"

static void *volatile kept;

NAMED void kept_at_exit(void)
{
    kept = malloc(opaque(4321));
}

static void *volatile late;

NAMED void kept_by_atexit(void)
{
    late = malloc(opaque(1234));
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "return";
    atexit(kept_by_atexit);
    kept_at_exit();
    puts("before the end");
    if (!strcmp(how, "exit"))
        exit(12);
    return 11;
}
