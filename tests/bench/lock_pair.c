/* lock_pair PATTERN PAIRS THREADS - how long does it take to lock and unlock, or to create and join?
 *
 * mutex, rwlock: one thread, nobody in its way (rwlock: read locks).  THREADS 1: the process has no other thread,
 *                which glibc knows; 2: there is one more, which does nothing.
 * contended:     THREADS threads for one mutex, some 40 ns of work under it and as much outside; each stays on its
 *                processor, or their wandering would be what is measured.
 * create:        pthread_create and pthread_join of a thread that ends at once (THREADS is 1).
 *
 * PAIRS of each thread.  Printed per pair: CPU time (mean of the threads' own clocks; create: of the process)
 * and wall time of the whole. */
#include "bench.h"

#include <pthread.h>
#include <sched.h>

enum { MAX_THREADS = 64, WORK = 30 };

struct job {
    uint64_t cpu_ns, begin_ns, end_ns;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t start;
static uint64_t n_pairs;
static uint64_t n_done; /* guarded by mutex */

static FRAME void run_mutex(void)
{
    for (uint64_t n = n_pairs; n > 0; n--) {
        pthread_mutex_lock(&mutex);
        n_done++;
        pthread_mutex_unlock(&mutex);
    }
}

static FRAME void run_rwlock(void)
{
    for (uint64_t n = n_pairs; n > 0; n--) {
        pthread_rwlock_rdlock(&rwlock);
        n_done++;
        pthread_rwlock_unlock(&rwlock);
    }
}

static inline uint64_t work(uint64_t random)
{
    for (int i = 0; i < WORK; i++)
        random_next(&random);
    KEEP(random);
    return random;
}

static FRAME void run_contended(void)
{
    uint64_t random = 88172645463325252u;

    for (uint64_t n = n_pairs; n > 0; n--) {
        pthread_mutex_lock(&mutex);
        n_done++;
        random = work(random);
        pthread_mutex_unlock(&mutex);
        random = work(random);
    }
}

static void *end_at_once(void *arg)
{
    __atomic_fetch_add(&n_done, 1, __ATOMIC_RELAXED);
    return arg;
}

static FRAME void run_create(void)
{
    for (uint64_t n = n_pairs; n > 0; n--) {
        pthread_t thread;
        require(pthread_create(&thread, NULL, end_at_once, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
    }
}

static const struct pattern {
    const char *name;
    void (*run)(void);
    clockid_t clock;
    bool all_run; /* every thread does, else one */
} patterns[] = {
    {"mutex",     run_mutex,     CLOCK_THREAD_CPUTIME_ID,  false},
    {"rwlock",    run_rwlock,    CLOCK_THREAD_CPUTIME_ID,  false},
    {"contended", run_contended, CLOCK_THREAD_CPUTIME_ID,  true },
    {"create",    run_create,    CLOCK_PROCESS_CPUTIME_ID, false},
};
enum { N_PATTERNS = sizeof patterns / sizeof *patterns };

static const struct pattern *pattern;
static struct job jobs[MAX_THREADS];

static void measure(struct job *job)
{
    job->begin_ns = read_clock_ns(CLOCK_MONOTONIC);
    const uint64_t cpu_ns = read_clock_ns(pattern->clock);
    pattern->run();
    job->cpu_ns = read_clock_ns(pattern->clock) - cpu_ns;
    job->end_ns = read_clock_ns(CLOCK_MONOTONIC);
}

/* To the n-th of the processors that the process may use, round and round. */
static void stay_on_processor(size_t n)
{
    cpu_set_t all, one;

    require(sched_getaffinity(0, sizeof all, &all) == 0, "sched_getaffinity");
    n %= (size_t)CPU_COUNT(&all);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && n-- == 0)
            CPU_SET(cpu, &one);
    require(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
}

static void *in_thread(void *job)
{
    stay_on_processor((size_t)((struct job *)job - jobs));
    pthread_barrier_wait(&start);
    measure(job);
    return job;
}

/* Until the process ends. */
static void *idle(void *arg)
{
    pause();
    return arg;
}

static void run_threads(size_t n_threads)
{
    pthread_t threads[MAX_THREADS];

    pthread_barrier_init(&start, NULL, (unsigned)n_threads);
    for (size_t i = 0; i < n_threads; i++)
        require(pthread_create(&threads[i], NULL, in_thread, &jobs[i]) == 0, "pthread_create");
    for (size_t i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
}

static void run_one(bool with_another)
{
    pthread_t other;

    if (with_another)
        require(pthread_create(&other, NULL, idle, NULL) == 0, "pthread_create");
    measure(&jobs[0]);
}

int main(int argc, char **argv)
{
    require(argc == 4, "usage: lock_pair mutex|rwlock|contended|create PAIRS THREADS");
    for (size_t i = 0; i < N_PATTERNS; i++)
        if (strcmp(argv[1], patterns[i].name) == 0)
            pattern = &patterns[i];
    n_pairs = strtoull(argv[2], NULL, 10);
    const size_t n_threads = strtoul(argv[3], NULL, 10);
    require(pattern && n_pairs && n_threads >= 1 && n_threads <= MAX_THREADS, "bad argument");

    const size_t n_jobs = pattern->all_run ? n_threads : 1;
    if (pattern->all_run)
        run_threads(n_threads);
    else
        run_one(n_threads > 1);

    uint64_t cpu_ns = 0, begin_ns = UINT64_MAX, end_ns = 0;
    for (size_t i = 0; i < n_jobs; i++) {
        cpu_ns += jobs[i].cpu_ns;
        begin_ns = jobs[i].begin_ns < begin_ns ? jobs[i].begin_ns : begin_ns;
        end_ns = jobs[i].end_ns > end_ns ? jobs[i].end_ns : end_ns;
    }
    const double all = (double)n_pairs * (double)n_jobs;
    require((double)n_done == all, "pairs are missing");
    printf("cpu_ns_per_pair=%.4f\n", (double)cpu_ns / all);
    printf("wall_ns_per_pair=%.4f\n", (double)(end_ns - begin_ns) / all);
    print_preloaded();
    return 0;
}
