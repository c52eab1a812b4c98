/* value_pair THREADS LIVE PAIRS - cprof_profile_add() and _remove() of one value, ten frames deep.
 *
 * Each thread has LIVE values all the time and renews one after the other, PAIRS times. Prints nanoseconds a pair of the
 * calling threads' CPU time (other load hardly shows in it) and of wall time: of the whole, by the pairs of all. */
#include "../../include/cprof.h"

#include <pthread.h>

#include "bench.h"

static cprof_profile *profile;
static uintptr_t n_live, n_pairs;
static pthread_barrier_t start;
static uint64_t cpu_ns[256], wall_ns[256];

FRAME void add(uintptr_t value)
{
    require(cprof_profile_add(profile, (void *)value, 0) == 0, "add");
    KEEP(value);
}

FRAME void deeper(uintptr_t value, int frames)
{
    if (frames > 1)
        deeper(value, frames - 1);
    else
        add(value);
    KEEP(value);
}

static void *work(void *arg)
{
    const uintptr_t own = (uintptr_t)arg << 40;

    for (uintptr_t i = 0; i < n_live; i++)
        add(own + i * 16);
    pthread_barrier_wait(&start);
    const uint64_t cpu = read_clock_ns(CLOCK_THREAD_CPUTIME_ID),
                   wall = read_clock_ns(CLOCK_MONOTONIC);
    for (uintptr_t i = 0; i < n_pairs; i++) {
        deeper(own + (n_live + i) * 16,
               7); /* with add(), work() and what began the thread: 10 */
        cprof_profile_remove(profile, (void *)(own + i * 16));
    }
    cpu_ns[(uintptr_t)arg] = read_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    wall_ns[(uintptr_t)arg] = read_clock_ns(CLOCK_MONOTONIC) - wall;
    return NULL;
}

int main(int argc, char **argv)
{
    const int n_threads = argc > 1 ? atoi(argv[1]) : 1;
    pthread_t threads[256];
    uint64_t cpu = 0, wall = 0;

    n_live = argc > 2 ? strtoul(argv[2], NULL, 0) : 1000;
    n_pairs = argc > 3 ? strtoul(argv[3], NULL, 0) : 1000000;
    require(n_threads >= 1 && n_threads < 256, "1 to 255 threads");
    profile = cprof_profile_new("value");
    pthread_barrier_init(&start, NULL, (unsigned)n_threads);
    for (intptr_t i = 0; i < n_threads; i++)
        require(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "thread");
    for (int i = 0; i < n_threads; i++) {
        pthread_join(threads[i], NULL);
        cpu += cpu_ns[i];
        wall = wall_ns[i] > wall ? wall_ns[i] : wall;
    }
    printf("ns_per_pair_cpu=%.1f\nns_per_pair_wall=%.1f\nlive=%zu\n",
           (double)cpu / n_threads / (double)n_pairs,
           (double)wall / n_threads / (double)n_pairs, cprof_profile_count(profile));
    print_preloaded();
    return 0;
}
