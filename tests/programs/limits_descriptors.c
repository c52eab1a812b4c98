/* Leaves itself no free descriptor (the limit cannot be set from outside: the loader needs one to start). */
#include <sys/resource.h>

#include "victim.h"

static void *volatile kept;

int main(void)
{
    struct rlimit limit = {3, 3};
    check(!setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    kept = malloc(opaque(4321));
    puts("before the end");
    return 11;
}
