/* Allocates again and again in one function at one depth, called by two others: only words further up the stack
 * differ.  By frame size and by frame pointer (a variable-length array). */
#include "victim.h"

NAMED void takes(void)
{
    void *p = malloc(opaque(100));
    KEEP(p);
    free(p);
}

NAMED void between(size_t n)
{
    char room[n];
    char *at = room;

    KEEP(at);
    takes();
    KEEP(at);
}

#define CALLER(name) \
    NAMED void name(void) \
    { \
        between(opaque(64)); \
        __asm__ volatile("" ::: "memory"); \
    }
CALLER(one)
CALLER(other)

int main(void)
{
    void (*volatile call)(void);

    for (int i = 0; i < 3000; i++) {
        call = i % 6 < 4 ? one : other;
        call();
    }
    return 0;
}
