/* A plugin. */
#include "victim.h"

NAMED void *plug_a_allocates(size_t n)
{
    void *p = malloc(n);
    KEEP(p);
    return p;
}

void *plug(size_t n)
{
    void *p = plug_a_allocates(n);
    KEEP(p);
    return p;
}
