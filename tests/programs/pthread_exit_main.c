/* main leaves by pthread_exit; another thread goes on and is the last. */
#include "victim.h"

static pthread_t main_thread;
static void *kept[50];

NAMED void *outlives_main(void *unused)
{
    pthread_join(main_thread, NULL);
    for (int i = 0; i < 50; i++) {
        kept[i] = malloc(opaque(200));
        KEEP(kept[i]);
    }
    puts("done");
    return unused;
}

int main(void)
{
    main_thread = pthread_self();
    pthread_t thread;
    check(!pthread_create(&thread, NULL, outlives_main, NULL), "pthread_create");
    pthread_exit(NULL);
}
