/* Takes every pthread key there is, as the program may, and prints how many it got. */
#include <limits.h>

#include "victim.h"

int main(void)
{
    pthread_key_t key;
    int n = 0;
    while (!pthread_key_create(&key, NULL))
        n++;
    void *p = malloc(opaque(1000));
    KEEP(p);
    free(p);
    printf("%d of %d\n", n, PTHREAD_KEYS_MAX);
    return 0;
}
