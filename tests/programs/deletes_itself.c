/* Removes its own file while it runs: /proc/self/maps then says (deleted). */
#include "victim.h"

static void *volatile kept;

int main(int argc, char **argv)
{
    (void)argc;
    kept = malloc(opaque(1000));
    check(!unlink(argv[0]), "unlink");
    return 0;
}
