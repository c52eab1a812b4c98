/* malloc_pair PATTERN BYTES PAIRS THREADS FRAMES - how long does one malloc and its free take?
 *
 * tight: free what was just allocated, BYTES each, from one place.
 * mix:   a random slot of 1024 is freed and filled again with 16 to 1024 bytes, small ones more often, from one of 16
 *        places (BYTES is ignored).
 * flood: as tight, but batches of 4096 objects live at a time, freed in the order of their birth.
 *
 * The loop runs under exactly FRAMES frames, counted as a debugger does, each with a return address of its own.  With
 * THREADS 1 it runs in main's thread and the process has no other.  Printed: CPU time per pair (mean of the threads'
 * own clocks), wall time per pair of the whole, the depth that backtrace() saw, and a sum over the work that was done.
 *
 * With BENCH_HEAP_RATE in the environment one object lives beside those of the loop, and then that rate is set: at
 * CPROF_HEAP_RATE=1 it is a sampled one. */
#include "bench.h"

#include "../../include/cprof.h"

#include <execinfo.h>
#include <pthread.h>

enum { N_SLOTS = 1024, N_BATCH = 4096, MAX_THREADS = 64, MAX_CHAIN = 128 };

typedef void *(*allocate_fn)(size_t size);
static void *(*volatile allocate)(size_t) = malloc;
static void (*volatile release)(void *) = free;

enum pattern { TIGHT, MIX, FLOOD };

struct job {
    enum pattern pattern;
    size_t size;
    uint64_t n_pairs;
    uint64_t seed;
    uint64_t cpu_ns, begin_ns, end_ns;
    uint64_t sum; /* of the objects' first bytes: what was written was there */
    size_t n_frames;
};

#define SIXTEEN(M) \
    M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define SITE(n) \
    static FRAME void *allocate_##n(size_t size) \
    { \
        char *p = allocate(size); \
        KEEP(p); \
        p[0] = 1; \
        return p; \
    }
SIXTEEN(SITE)
#define SITE_NAME(n) allocate_##n,
static const allocate_fn sites[] = {SIXTEEN(SITE_NAME)};

static FRAME void run_tight(struct job *job)
{
    size_t size = job->size;
    uint64_t sum = 0;
    for (uint64_t n = job->n_pairs; n > 0; n--) {
        char *p = allocate(size);
        KEEP(p);
        p[0] = 1;
        KEEP(p);
        sum += (unsigned char)p[0];
        release(p);
    }
    job->sum += sum;
}

/* Small ones more often: 1024 >> 0..6. */
static inline size_t mixed_size(uint64_t random)
{
    size_t most = (size_t)1024 >> (random % 7);
    return most - (random >> 8) % (most / 2 + 1) + 1;
}

static FRAME void run_mix(struct job *job)
{
    char *slots[N_SLOTS] = {NULL};
    uint64_t random = job->seed;
    for (uint64_t n = 0; n < job->n_pairs; n++) {
        uint64_t r = random_next(&random);
        char **slot = &slots[r % N_SLOTS];
        if (*slot)
            job->sum += (unsigned char)**slot;
        release(*slot);
        *slot = sites[(r >> 10) & 15](mixed_size(r >> 14));
    }
    for (size_t i = 0; i < N_SLOTS; i++) {
        if (slots[i])
            job->sum += (unsigned char)*slots[i];
        release(slots[i]);
    }
}

static FRAME void run_flood(struct job *job)
{
    char *batch[N_BATCH];
    for (uint64_t n = 0; n < job->n_pairs; n += N_BATCH) {
        for (size_t i = 0; i < N_BATCH; i++) {
            batch[i] = allocate(job->size);
            KEEP(batch[i]);
            batch[i][0] = 1;
        }
        for (size_t i = 0; i < N_BATCH; i++) {
            job->sum += (unsigned char)batch[i][0];
            release(batch[i]);
        }
    }
}

/* The timed piece.  It is one frame, the pattern under it another, and the allocating function of a mix a third. */
static FRAME void measure(struct job *job)
{
    static void (*const run[])(struct job *) = {
        [TIGHT] = run_tight, [MIX] = run_mix, [FLOOD] = run_flood};
    job->begin_ns = read_clock_ns(CLOCK_MONOTONIC);
    uint64_t cpu_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    run[job->pattern](job);
    job->cpu_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
    job->end_ns = read_clock_ns(CLOCK_MONOTONIC);
}

static FRAME size_t count_frames(void)
{
    void *frames[256];
    size_t n = (size_t)backtrace(frames, 256);
    KEEP(n);
    return n;
}

/* A chain of functions, each called by the next: link_N calls down to link_0, which warms up and measures. */
typedef void (*link_fn)(struct job *job);
static FRAME void link_0(struct job *job)
{
    struct job warm = *job;
    if (getenv("BENCH_NO_WARM_UP") == NULL) {
        if (warm.n_pairs > 20000)
            warm.n_pairs = 20000;
        measure(&warm);
    }
    measure(job);
    job->n_frames = count_frames();
}
#define LINK(this, next) \
    static FRAME void link_##this(struct job * job) \
    { \
        link_##next(job); \
        KEEP(job); \
    }
/* clang-format off */
#define TEN(t, last) \
    LINK(t##0, last) LINK(t##1, t##0) LINK(t##2, t##1) LINK(t##3, t##2) LINK(t##4, t##3) \
    LINK(t##5, t##4) LINK(t##6, t##5) LINK(t##7, t##6) LINK(t##8, t##7) LINK(t##9, t##8)
#define TEN_NAMES(t) \
    link_##t##0, link_##t##1, link_##t##2, link_##t##3, link_##t##4, \
    link_##t##5, link_##t##6, link_##t##7, link_##t##8, link_##t##9,
TEN(1, 0) TEN(2, 19) TEN(3, 29) TEN(4, 39) TEN(5, 49) TEN(6, 59) TEN(7, 69) TEN(8, 79) TEN(9, 89)
static const link_fn chain[] = {
    link_0, TEN_NAMES(1) TEN_NAMES(2) TEN_NAMES(3) TEN_NAMES(4) TEN_NAMES(5)
            TEN_NAMES(6) TEN_NAMES(7) TEN_NAMES(8) TEN_NAMES(9)
};
/* clang-format on */
enum { N_CHAIN = sizeof chain / sizeof *chain };

static size_t wanted_frames;
static struct job jobs[MAX_THREADS];
static pthread_barrier_t start;

/* Frames at the allocation: at the bottom _start, __libc_start_main, __libc_start_call_main and main, or clone,
 * start_thread and in_thread; on the chain measure, the pattern and, in a mix, the allocating function. */
static inline __attribute__((always_inline)) void run_job(struct job *job, size_t bottom)
{
    size_t top = job->pattern == MIX ? 3 : 2;
    size_t n = wanted_frames > bottom + top ? wanted_frames - bottom - top : 1;
    require(n <= N_CHAIN, "FRAMES is too large");
    chain[n - 1](job);
    /* count_frames stood where measure does. */
    job->n_frames += top - 1;
}

static FRAME void *in_thread(void *job)
{
    pthread_barrier_wait(&start);
    run_job(job, 3);
    return job;
}

static void keep_one_beside(size_t size)
{
    const char *rate = getenv("BENCH_HEAP_RATE");

    if (!rate)
        return;
    void *kept = allocate(size);
    KEEP(kept);
    cprof_set_heap_rate(strtoull(rate, NULL, 10));
}

int main(int argc, char **argv)
{
    require(argc == 6, "usage: malloc_pair tight|mix|flood BYTES PAIRS THREADS FRAMES");
    struct job job = {
        .pattern = strcmp(argv[1], "mix") == 0     ? MIX
                   : strcmp(argv[1], "flood") == 0 ? FLOOD
                                                   : TIGHT,
        .size = strtoul(argv[2], NULL, 10),
        .n_pairs = strtoull(argv[3], NULL, 10),
    };
    size_t n_threads = strtoul(argv[4], NULL, 10);
    wanted_frames = strtoul(argv[5], NULL, 10);
    require(n_threads >= 1 && n_threads <= MAX_THREADS && job.n_pairs > 0, "bad number");

    keep_one_beside(job.size);
    for (size_t i = 0; i < n_threads; i++) {
        jobs[i] = job;
        jobs[i].seed = 88172645463325252u + i;
    }
    if (n_threads == 1) {
        run_job(&jobs[0], 4);
    } else {
        pthread_t threads[MAX_THREADS];
        pthread_barrier_init(&start, NULL, (unsigned)n_threads);
        for (size_t i = 0; i < n_threads; i++)
            require(pthread_create(&threads[i], NULL, in_thread, &jobs[i]) == 0,
                    "pthread_create");
        for (size_t i = 0; i < n_threads; i++)
            pthread_join(threads[i], NULL);
    }

    uint64_t cpu_ns = 0, begin_ns = UINT64_MAX, end_ns = 0, sum = 0;
    for (size_t i = 0; i < n_threads; i++) {
        cpu_ns += jobs[i].cpu_ns;
        sum += jobs[i].sum;
        begin_ns = jobs[i].begin_ns < begin_ns ? jobs[i].begin_ns : begin_ns;
        end_ns = jobs[i].end_ns > end_ns ? jobs[i].end_ns : end_ns;
    }
    double n_pairs = (double)job.n_pairs * (double)n_threads;
    require((double)sum >= n_pairs, "pairs are missing");
    printf("cpu_ns_per_pair=%.4f\n", (double)cpu_ns / n_pairs);
    printf("wall_ns_per_pair=%.4f\n", (double)(end_ns - begin_ns) / n_pairs);
    printf("pairs=%llu\n", (unsigned long long)sum);
    printf("frames=%zu\n", jobs[0].n_frames);
    print_preloaded();
    return 0;
}
