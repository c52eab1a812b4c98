/* Go's test/heapsampling.go: six sizes in turn, each from a function of its own.  Every eighth round stays in use. */
#include "victim.h"

enum { N_ROUNDS = 50000 };

#define SIZE(name, size) \
    NAMED void *name(void) \
    { \
        void *p = malloc(opaque(size)); \
        KEEP(p); \
        return p; \
    }

SIZE(of_17k, 17 * 1024)
SIZE(of_1k, 1024)
SIZE(of_18k, 18 * 1024)
SIZE(of_512, 512)
SIZE(of_16k, 16 * 1024)
SIZE(of_256, 256)

int main(void)
{
    static void *(*const makers[])(void) = {of_17k, of_1k, of_18k, of_512, of_16k, of_256};
    for (int i = 0; i < N_ROUNDS; i++)
        for (size_t j = 0; j < sizeof makers / sizeof *makers; j++) {
            void *p = makers[j]();
            if (i % 8)
                free(p);
        }
    return 0;
}
