/* 64 threads add and remove a million values in sum, each keeps ten; meanwhile the main thread writes the profile,
 * over and over, to a file that nobody reads. */
#include "../../include/cprof.h"

#include <sys/mman.h>

#include "victim.h"

enum { N_THREADS = 64, N_EACH = 1000000 / N_THREADS, N_KEPT = 10 };

static cprof_profile *profile;
static int n_ended;

NAMED int opens(uintptr_t value)
{
    const int err = cprof_profile_add(profile, (void *)value, 0);
    KEEP(profile);
    return err;
}

static void *work(void *arg)
{
    const uintptr_t own = (uintptr_t)arg << 32;

    for (uintptr_t i = 0; i < N_EACH; i++) {
        check(opens(own + i) == 0, "add");
        check(i % 100 || opens(own + i) == EEXIST, "add again");
        if (i >= N_KEPT)
            cprof_profile_remove(profile, (void *)(own + i - N_KEPT));
    }
    __atomic_add_fetch(&n_ended, 1, __ATOMIC_RELEASE);
    return NULL;
}

int main(void)
{
    pthread_t threads[N_THREADS];
    const int file = memfd_create("profile", 0);
    int n_written = 0;

    profile = cprof_profile_new("value");
    for (uintptr_t i = 0; i < N_THREADS; i++)
        check(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0, "thread");
    while (__atomic_load_n(&n_ended, __ATOMIC_ACQUIRE) < N_THREADS) {
        check(cprof_profile_write(profile, file, n_written % 2) == 0, "write");
        check(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0, "truncate");
        n_written++;
    }
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("live %zu, written %s\n", cprof_profile_count(profile),
           n_written ? "meanwhile" : "never");
    return 0;
}
