/* Leaves itself no free descriptor, or as many as it is told (the limit cannot be set from outside: the loader needs one to
 * start). */
#include <sys/resource.h>

#include "victim.h"

static void *volatile kept;

int main(int argc, char **argv)
{
    const rlim_t n_free = argc > 1 ? (rlim_t)atoi(argv[1]) : 0;
    struct rlimit limit = {3 + n_free, 3 + n_free};
    check(!setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    kept = malloc(opaque(4321));
    puts("before the end");
    return 11;
}
