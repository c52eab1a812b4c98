/* Statically linked: the preload cannot reach it.
 * flags: -static */
#include "victim.h"

int main(void)
{
    void *p = malloc(opaque(1000));
    KEEP(p);
    puts("static");
    return 3;
}
