/* flags: -no-pie -fno-pie
 * Takes malloc's address where that makes it the executable's own: what stands there is a stub, which leads to the first
 * allocator behind. */
#include "victim.h"

static void *(*volatile allocate)(size_t);

int main(void)
{
    allocate = malloc; /* in code: data would get a relocation instead */
    void *p = allocate(opaque(4321));
    KEEP(p);
    puts("done");
    return 5;
}
