/* malloc_crowd OPERATIONS - four threads that give each other memory, for allocators whose own locks contend.
 *
 * Every block is freed by whichever thread finds it, large ones too; a mutex of the program's own is fought for
 * inside, and snapshots are asked for while all this goes on (SIGUSR2).  OPERATIONS of each thread. */
#include <sched.h>

#include "victim.h"

enum { N_THREADS = 4, N_SLOTS = 256, SNAPSHOT_EVERY = 4 };

static void *slots[N_SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long n_operations, n_locked, n_freed, n_allocated;

static size_t choose_size(uint64_t random)
{
    return random % 64 == 0 ? 40000 + random % 300000 : 16 << (random % 8);
}

NAMED void fight_for_the_lock(void)
{
    pthread_mutex_lock(&lock);
    free(malloc(opaque(100)));
    if (n_locked++ % 64 == 0)
        sched_yield(); /* whoever runs now comes here soon */
    pthread_mutex_unlock(&lock);
}

NAMED void *exchange(void *arg)
{
    uint64_t random = 88172645463325252u + (uintptr_t)arg;
    unsigned long freed = 0;

    for (unsigned long i = 0; i < n_operations; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        char *mine = malloc(choose_size(random >> 40));
        check(mine, "malloc");
        mine[0] = 1;
        char *theirs =
            __atomic_exchange_n(&slots[random >> 20 & (N_SLOTS - 1)], mine, __ATOMIC_ACQ_REL);
        if (theirs) {
            check(theirs[0] == 1, "a block has changed");
            theirs[0] = 0;
            free(theirs);
            freed++;
        }
        if (i % 8 == 0)
            fight_for_the_lock();
        if (arg == NULL && i % (n_operations / SNAPSHOT_EVERY + 1) == 0 && getenv("ASK"))
            kill(getpid(), SIGUSR2);
    }
    __atomic_fetch_add(&n_freed, freed, __ATOMIC_RELAXED);
    __atomic_fetch_add(&n_allocated, n_operations, __ATOMIC_RELAXED);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[N_THREADS];

    check(argc == 2, "usage: malloc_crowd OPERATIONS");
    n_operations = strtoul(argv[1], NULL, 10);
    for (uintptr_t i = 0; i < N_THREADS; i++)
        check(pthread_create(&threads[i], NULL, exchange, (void *)i) == 0, "pthread_create");
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < N_SLOTS; i++) {
        n_freed += slots[i] != NULL;
        free(slots[i]);
    }
    printf("allocated %lu, freed %lu, locked %lu times\n", n_allocated, n_freed, n_locked);
    return n_allocated == n_freed ? 0 : 1;
}
