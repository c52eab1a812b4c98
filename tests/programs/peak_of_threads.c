/* Many threads that each hold a little: at the end all of it is in use, or with an argument none. */
#include "victim.h"

enum { N_THREADS = 400, N_EACH = 500, BYTES = 1000 };
static pthread_barrier_t all_hold;
static bool gives_back;

NAMED void *holds_a_little(void *unused)
{
    void *held[N_EACH];
    for (int i = 0; i < N_EACH; i++) {
        held[i] = malloc(opaque(BYTES));
        KEEP(held[i]);
    }
    pthread_barrier_wait(&all_hold);
    for (int i = 0; i < N_EACH && gives_back; i++)
        free(held[i]);
    return unused;
}

int main(int argc, char **argv)
{
    (void)argv;
    gives_back = argc > 1;
    pthread_t threads[N_THREADS];
    pthread_barrier_init(&all_hold, NULL, N_THREADS);
    for (int i = 0; i < N_THREADS; i++)
        check(!pthread_create(&threads[i], NULL, holds_a_little, NULL), "pthread_create");
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
