/* Its constructor keeps some memory. */
#include "victim.h"

static void *kept;

NAMED static void allocates_at_load(void)
{
    kept = malloc(4321);
    KEEP(kept);
}

__attribute__((constructor)) static void on_load(void)
{
    allocates_at_load();
}
