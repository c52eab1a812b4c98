/* rule_pair KIND N - how long does a call of a library's function take that a rule may follow (librule.c)?
 *
 * KIND: open (N calls of rule_open), close (of rule_close), pair (both: one object of a rule that follows both).
 * The loop runs in measure() below deep() and main().  Printed: CPU time per round. */
#include "bench.h"

uint64_t rule_open(uint64_t number);
void rule_close(uint64_t handle);

static FRAME uint64_t measure(const char *kind, uint64_t n)
{
    const uint64_t begin_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    uint64_t handle = 0;

    if (strcmp(kind, "open") == 0)
        for (uint64_t i = 1; i <= n; i++)
            handle = rule_open(i);
    else if (strcmp(kind, "close") == 0)
        for (handle = 2; handle <= n; handle++)
            rule_close(handle);
    else
        for (uint64_t i = 1; i <= n; i++)
            rule_close(handle = rule_open(i));
    require(handle == n + 1, "calls are missing");
    return read_clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin_ns;
}

static FRAME uint64_t deep(const char *kind, uint64_t n)
{
    uint64_t ns = measure(kind, n);

    KEEP(ns);
    return ns;
}

int main(int argc, char **argv)
{
    require(argc == 3, "usage: rule_pair open|close|pair N");
    const uint64_t n = strtoull(argv[2], NULL, 10);

    deep(argv[1], n / 10);
    printf("cpu_ns_per_call=%.4f\n", (double)deep(argv[1], n) / (double)n);
    print_preloaded();
    return 0;
}
