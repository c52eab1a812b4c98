/* Grows to 64 MiB in one function, gives it all back, and ends with little in use. */
#include "victim.h"

enum { N = 1024 };
static void *high[N], *low[100];

NAMED void grows_high(void)
{
    for (int i = 0; i < N; i++) {
        high[i] = malloc(opaque(65536));
        KEEP(high[i]);
    }
}

NAMED void stays_low(void)
{
    for (int i = 0; i < 100; i++) {
        low[i] = malloc(opaque(1000));
        KEEP(low[i]);
    }
}

int main(void)
{
    grows_high();
    for (int i = 0; i < N; i++)
        free(high[i]);
    stays_low();
    return 0;
}
