/* request_loop SECONDS - a server's thread: handles one request after the other, 50 pairs of malloc and free each, while
 * 20 000 objects from 64 stacks stay; another thread sleeps.  Printed: `ready`, then how many requests there were, of
 * the longest its time, by the wall and of the thread's CPU, how many took over 5 ms by the wall, and how often the thread,
 * which waits for nothing itself, had to wait (other than for a CPU). */
#include "bench.h"

#include <pthread.h>
#include <sys/resource.h>

enum { LIVE = 20000, PAIRS = 50, STACK_BITS = 6 };

static void *(*volatile allocate)(size_t) = malloc;
static void *live[LIVE];

static FRAME void *branch(unsigned bits, int depth);
static FRAME void *other_branch(unsigned bits, int depth)
{
    void *p = branch(bits, depth);

    KEEP(p);
    return p;
}
static FRAME void *branch(unsigned bits, int depth)
{
    void *p = depth == 0 ? allocate(100)
              : bits & 1 ? other_branch(bits >> 1, depth - 1)
                         : branch(bits >> 1, depth - 1);

    KEEP(p);
    return p;
}

static FRAME void handle_request(uint64_t *random)
{
    for (int i = 0; i < PAIRS; i++) {
        void *p = allocate(16 + random_next(random) % 500);
        KEEP(p);
        free(p);
    }
}

struct longest {
    uint64_t wall_ns, cpu_ns, n_slow;
};

static struct longest serve_until(uint64_t end_ns, uint64_t *ret_n)
{
    struct longest longest = {0};
    uint64_t random = 1, at = read_clock_ns(CLOCK_MONOTONIC), now;
    uint64_t cpu_at = read_clock_ns(CLOCK_THREAD_CPUTIME_ID), cpu_now;

    for (; at < end_ns; at = now, cpu_at = cpu_now, ++*ret_n) {
        handle_request(&random);
        now = read_clock_ns(CLOCK_MONOTONIC);
        cpu_now = read_clock_ns(CLOCK_THREAD_CPUTIME_ID);
        longest.wall_ns = now - at > longest.wall_ns ? now - at : longest.wall_ns;
        longest.cpu_ns = cpu_now - cpu_at > longest.cpu_ns ? cpu_now - cpu_at : longest.cpu_ns;
        longest.n_slow += now - at > 5000000;
    }
    return longest;
}

static void *serve(void *arg)
{
    struct rusage before, after;
    uint64_t n = 0;

    getrusage(RUSAGE_THREAD, &before);
    const struct longest longest =
        serve_until(read_clock_ns(CLOCK_MONOTONIC) + strtoul(arg, NULL, 10) * 1000000000u, &n);
    getrusage(RUSAGE_THREAD, &after);
    printf("requests=%llu\nlongest_ms=%.3f\nlongest_cpu_ms=%.3f\nover_5_ms=%llu\nwaits=%ld\n",
           (unsigned long long)n, (double)longest.wall_ns / 1e6, (double)longest.cpu_ns / 1e6,
           (unsigned long long)longest.n_slow, after.ru_nvcsw - before.ru_nvcsw);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;

    require(argc == 2, "usage: request_loop SECONDS");
    for (unsigned i = 0; i < LIVE; i++)
        live[i] = branch(i % (1u << STACK_BITS), STACK_BITS);
    print_preloaded();
    printf("ready\n");
    fflush(stdout);
    require(pthread_create(&thread, NULL, serve, argv[1]) == 0, "pthread_create");
    pthread_join(thread, NULL);
    return 0;
}
