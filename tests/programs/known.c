/* Allocations whose profile can be written down by hand. */
#include "victim.h"

static void *four[4];

NAMED void allocates_four(void)
{
    for (int i = 0; i < 4; i++) {
        four[i] = malloc(opaque(1024));
        KEEP(four[i]);
    }
}

NAMED void *allocates_large(void)
{
    void *p = malloc(opaque(524288));
    KEEP(p);
    return p;
}

NAMED void *allocates_odd(void)
{
    void *p = malloc(opaque(1000));
    KEEP(p);
    return p;
}

NAMED void *allocates_zero_bytes(void)
{
    void *p = malloc(opaque(0));
    KEEP(p);
    return p;
}

NAMED void allocates_and_frees(void)
{
    for (int i = 0; i < 100; i++) {
        void *p = calloc(opaque(10), 10);
        KEEP(p);
        free(p);
    }
}

NAMED void fails(void)
{
    void *p = malloc(opaque(SIZE_MAX / 2));
    KEEP(p);
    check(!p, "half the address space was given");
    p = calloc(opaque(SIZE_MAX / 2), 3);
    KEEP(p);
    check(!p, "an overflowing calloc succeeded");
    p = reallocarray(NULL, opaque(SIZE_MAX / 2), 3);
    KEEP(p);
    check(!p, "an overflowing reallocarray succeeded");
    int err = posix_memalign(&p, 3, opaque(10));
    check(err == EINVAL, "an alignment of 3 was accepted");
}

NAMED void after_failures(void)
{
    for (int i = 0; i < 5; i++) {
        void *p = malloc(opaque(50));
        KEEP(p);
        free(p);
    }
}

static void *kept[8];

int main(void)
{
    allocates_four();
    free(four[2]);
    kept[0] = allocates_large();
    kept[1] = allocates_odd();
    kept[2] = allocates_zero_bytes();
    allocates_and_frees();
    fails();
    after_failures();
    free(NULL);
    KEEP(kept[0]);
    return 0;
}
