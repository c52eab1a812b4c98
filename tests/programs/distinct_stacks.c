/* Allocates, at rate 1, from 2^argv[1] different stacks, argv[2] objects each kept: more than a small cap holds. */
#include "victim.h"

static long n_objects = 1;

NAMED int left(int depth, unsigned path);
NAMED int right(int depth, unsigned path);

NAMED void bottom(void)
{
    for (long i = 0; i < n_objects; i++) {
        void *p = malloc(opaque(40));
        KEEP(p);
    }
}

static inline __attribute__((always_inline)) int step(int depth, unsigned path)
{
    if (depth == 0) {
        bottom();
        return 1;
    }
    return (path & 1) ? left(depth - 1, path >> 1) : right(depth - 1, path >> 1);
}

int left(int depth, unsigned path)
{
    int n = step(depth, path);
    __asm__ volatile("" : "+r"(n));
    return n + 1;
}

int right(int depth, unsigned path)
{
    int n = step(depth, path);
    __asm__ volatile("" : "+r"(n));
    return n + 2;
}

int main(int argc, char **argv)
{
    int bits = argc > 1 ? atoi(argv[1]) : 12;
    n_objects = argc > 2 ? atol(argv[2]) : 1;
    long sum = 0;
    for (unsigned path = 0; path < 1u << bits; path++)
        sum += left(bits, path);
    printf("%ld\n", sum);
    return 7;
}
