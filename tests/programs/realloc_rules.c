/* Every way a realloc can go. */
#include "victim.h"

static void *kept[8];

NAMED void *first_owner(size_t n)
{
    void *p = malloc(n);
    KEEP(p);
    return p;
}

/* 16, 32, ... 64 KiB: thirteen allocations, the last one lives. */
NAMED void *chain(void)
{
    void *p = NULL;
    for (size_t n = 16; n <= 65536; n *= 2) {
        p = realloc(p, opaque(n));
        KEEP(p);
        check(p, "realloc");
        memset(p, 1, n);
    }
    return p;
}

NAMED void *takes_over(void *p)
{
    p = realloc(p, opaque(5000));
    KEEP(p);
    return p;
}

NAMED void *shrinks(void *p)
{
    p = realloc(p, opaque(10));
    KEEP(p);
    return p;
}

NAMED void *fails_to_grow(void *p)
{
    void *q = realloc(p, opaque(SIZE_MAX / 2));
    KEEP(q);
    check(!q && errno == ENOMEM, "a huge realloc succeeded");
    q = reallocarray(p, opaque(SIZE_MAX / 2), 4);
    KEEP(q);
    check(!q && errno == ENOMEM, "an overflowing reallocarray succeeded");
    return p;
}

NAMED void *keeps_after_failure(void)
{
    void *p = malloc(opaque(300));
    KEEP(p);
    return p;
}

NAMED void *freed_after_failure(void)
{
    void *p = malloc(opaque(301));
    KEEP(p);
    return p;
}

NAMED void *freed_by_realloc_zero(void)
{
    void *p = malloc(opaque(77));
    KEEP(p);
    return p;
}

NAMED void reallocs_to_zero(void *p)
{
    void *q = realloc(p, opaque(0));
    KEEP(q);
    check(!q, "realloc(p, 0) of glibc gives NULL");
}

int main(void)
{
    kept[0] = chain();
    kept[1] = takes_over(first_owner(400));
    kept[2] = shrinks(first_owner(4000));
    kept[3] = fails_to_grow(keeps_after_failure());
    free(fails_to_grow(freed_after_failure()));
    reallocs_to_zero(freed_by_realloc_zero());
    KEEP(kept[0]);
    return 0;
}
