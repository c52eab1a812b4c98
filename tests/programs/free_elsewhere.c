/* A hundred objects made by one thread; another frees sixty of them. */
#include "victim.h"

static void *objects[100];

NAMED void *makes(void *unused)
{
    for (int i = 0; i < 100; i++) {
        objects[i] = malloc(opaque(1000));
        KEEP(objects[i]);
    }
    return unused;
}

NAMED void *frees_sixty(void *unused)
{
    for (int i = 0; i < 60; i++)
        free(objects[i]);
    return unused;
}

int main(void)
{
    pthread_t thread;
    check(!pthread_create(&thread, NULL, makes, NULL), "pthread_create");
    pthread_join(thread, NULL);
    check(!pthread_create(&thread, NULL, frees_sixty, NULL), "pthread_create");
    pthread_join(thread, NULL);
    return 0;
}
