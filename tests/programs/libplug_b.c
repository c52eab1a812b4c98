/* Another plugin; its code is laid out so that the offsets of the two differ. */
#include "victim.h"

NAMED int plug_b_pads(int n)
{
    for (int i = 0; i < 100; i++)
        n = n * 31 + i;
    return n;
}

NAMED void *plug_b_allocates(size_t n)
{
    void *p = malloc(n + (size_t)(plug_b_pads(1) & 0));
    KEEP(p);
    return p;
}

void *plug(size_t n)
{
    void *p = plug_b_allocates(n);
    KEEP(p);
    return p;
}
