/* Locks itself into the empty directory argv[1], then is asked for a snapshot. */
#include "victim.h"

static void *volatile kept;

int main(int argc, char **argv)
{
    (void)argc;
    kept = malloc(opaque(1000));
    check(!chroot(argv[1]) && !chdir("/"), "chroot");
    raise(SIGUSR2);
    puts("done");
    return 0;
}
