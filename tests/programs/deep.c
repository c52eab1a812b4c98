/* Allocates below argv[1] calls of down(). */
#include "victim.h"

static void *volatile kept;

NAMED void deepest(void)
{
    kept = malloc(opaque(1000000));
}

NAMED int down(int n)
{
    if (n <= 1)
        deepest();
    else
        n += down(n - 1);
    __asm__ volatile("" : "+r"(n));
    return n;
}

int main(int argc, char **argv)
{
    down(argc > 1 ? atoi(argv[1]) : 10);
    return 0;
}
