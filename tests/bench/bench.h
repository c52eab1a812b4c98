/* bench.h - what the victims of scripts/bench share.
 *
 * A victim measures itself (its clocks see neither start-up nor exit), says what it did as `key=value` lines on
 * stdout, and whether the library named by BENCH_LIBRARY is really in its address space. */
#ifndef BENCH_H
#define BENCH_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A frame of its own in every stack: never inlined, cloned or merged with its equals. */
#ifdef __clang__
#define FRAME __attribute__((noinline))
#else
#define FRAME __attribute__((noinline, noclone, noipa))
#endif

/* The compiler can neither drop `p` nor the call that made it, and makes no tail call before it. */
#define KEEP(p) __asm__ volatile("" : "+r"(p) : : "memory")

static inline void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "bench victim: %s\n", what);
        exit(99);
    }
}

static inline uint64_t read_clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* The file into `text`, terminated, without any allocation. */
static inline size_t read_file(const char *path, char *text, size_t size_bytes)
{
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    require(fd >= 0, path);
    for (;;) {
        ssize_t n = read(fd, text + used, size_bytes - 1 - used);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    close(fd);
    text[used] = '\0';
    return used;
}

/* preloaded=1 when the library that BENCH_LIBRARY names is mapped here. */
static inline void print_preloaded(void)
{
    static char maps[1 << 16];
    const char *library = getenv("BENCH_LIBRARY");
    bool mapped = false;
    if (library && *library) {
        read_file("/proc/self/maps", maps, sizeof maps);
        mapped = strstr(maps, library) != NULL;
    }
    printf("preloaded=%d\n", mapped);
}

#endif
