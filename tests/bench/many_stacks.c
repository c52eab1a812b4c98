/* many_stacks STACKS SNAPSHOTS [stay] - allocates from that many different stacks, then asks for snapshots with SIGUSR2;
 * says `ready` and stays until its stdin ends.
 *
 * 1024 functions call each other in an order drawn from the number of the stack, twenty deep, so that a profile has as many
 * locations and names as one of a real program.  Everything stays allocated.  Printed: time around each raise(). */
#include "bench.h"

#include <signal.h>

enum { DEPTH = 20, N_NODES = 1024 };

struct path {
    uint64_t random;
    size_t left;
};

typedef void (*node_fn)(struct path *path);
static const node_fn nodes[N_NODES];
static void *(*volatile allocate)(size_t) = malloc;
static uint64_t n_allocated;

static FRAME void leaf(void)
{
    char *p = allocate(64);
    KEEP(p);
    require(p != NULL, "malloc");
    p[0] = 1;
    n_allocated++;
}

static inline __attribute__((always_inline)) void descend(struct path *path)
{
    if (path->left-- == 0)
        leaf();
    else
        nodes[random_next(&path->random) % N_NODES](path);
    KEEP(path);
}

#define NODE(n) \
    static FRAME void node_##n(struct path *path) \
    { \
        descend(path); \
    }
#define NODE_NAME(n)   node_##n,
#define EACH_4(M, n)   M(n##0) M(n##1) M(n##2) M(n##3)
#define EACH_16(M, n)  EACH_4(M, n##0) EACH_4(M, n##1) EACH_4(M, n##2) EACH_4(M, n##3)
#define EACH_64(M, n)  EACH_16(M, n##0) EACH_16(M, n##1) EACH_16(M, n##2) EACH_16(M, n##3)
#define EACH_256(M, n) EACH_64(M, n##0) EACH_64(M, n##1) EACH_64(M, n##2) EACH_64(M, n##3)
#define EACH_1024(M)   EACH_256(M, 0) EACH_256(M, 1) EACH_256(M, 2) EACH_256(M, 3)
EACH_1024(NODE)
static const node_fn nodes[N_NODES] = {EACH_1024(NODE_NAME)};

int main(int argc, char **argv)
{
    require(argc >= 3, "usage: many_stacks STACKS SNAPSHOTS [stay]");
    size_t n_stacks = strtoul(argv[1], NULL, 10);
    size_t n_snapshots = strtoul(argv[2], NULL, 10);

    for (size_t i = 0; i < n_stacks; i++) {
        struct path path = {.random = (i + 1) * 0x9E3779B97F4A7C15u, .left = DEPTH};
        descend(&path);
    }
    require(n_allocated == n_stacks, "stacks are missing");
    printf("stacks=%llu\n", (unsigned long long)n_allocated);
    print_preloaded();

    for (size_t i = 0; i < n_snapshots; i++) {
        fflush(stdout);
        uint64_t wall_ns = read_clock_ns(CLOCK_MONOTONIC);
        uint64_t cpu_ns = read_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        raise(SIGUSR2);
        cpu_ns = read_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
        wall_ns = read_clock_ns(CLOCK_MONOTONIC) - wall_ns;
        printf("snapshot_ms=%.3f %.3f\n", (double)cpu_ns / 1e6, (double)wall_ns / 1e6);
    }
    if (argc > 3) {
        char byte;
        printf("ready\n");
        fflush(stdout);
        while (read(0, &byte, 1) > 0)
            ;
    }
    return 0;
}
