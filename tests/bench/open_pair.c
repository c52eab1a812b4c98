/* open_pair KIND PAIRS - how long does it take to open something and close it again?
 *
 * KIND: inet, unix (a stream socket), file (fopen of /etc/hostname), memory (open_memstream: no system call in it).
 * The loop runs under eight frames, as malloc_pair counts them.  Printed: CPU time per pair. */
#include "bench.h"

#include <sys/socket.h>

static uint64_t sum;

static FRAME void pair(const char *kind)
{
    static char *data;
    static size_t size;

    if (strcmp(kind, "file") == 0 || strcmp(kind, "memory") == 0) {
        FILE *file = *kind == 'f' ? fopen("/etc/hostname", "re") : open_memstream(&data, &size);
        require(file != NULL, "fopen");
        sum += fclose(file) == 0;
        free(data);
        data = NULL;
    } else {
        int fd = socket(*kind == 'i' ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        require(fd >= 0, "socket");
        sum += close(fd) == 0;
    }
}

static FRAME uint64_t measure(const char *kind, uint64_t n)
{
    const uint64_t begin_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID);

    for (uint64_t i = 0; i < n; i++)
        pair(kind);
    return read_clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin_ns;
}

static FRAME uint64_t deeper(const char *kind, uint64_t n)
{
    uint64_t ns = measure(kind, n);

    KEEP(ns);
    return ns;
}

static FRAME uint64_t deep(const char *kind, uint64_t n)
{
    uint64_t ns = deeper(kind, n);

    KEEP(ns);
    return ns;
}

int main(int argc, char **argv)
{
    require(argc == 3, "usage: open_pair inet|unix|file|memory PAIRS");
    const uint64_t n = strtoull(argv[2], NULL, 10);

    deep(argv[1], n / 10);
    sum = 0;
    const uint64_t ns = deep(argv[1], n);
    require(sum == n, "pairs are missing");
    printf("cpu_ns_per_pair=%.4f\n", (double)ns / (double)n);
    print_preloaded();
    return 0;
}
