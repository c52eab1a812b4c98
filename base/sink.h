/* sink - where finished bytes go: a descriptor or a piece of memory.
 *
 * A sink is one function pointer; what it needs stands behind it in the same struct.
 * The first error sticks in the caller's hands: write returns 0 or -errno and whoever writes
 * stops at the first error.  Raw system calls only: no errno, no cancellation point.
 *
 * Signal-safe; one sink belongs to one job. */
#ifndef CPROF_BASE_SINK_H
#define CPROF_BASE_SINK_H

#include <stddef.h>
#include <stdint.h>

struct sink {
    /* All of `size` bytes, or -errno. */
    int (*write)(struct sink *sink, const void *data, size_t size);
};

static inline int sink_write(struct sink *sink, const void *data, size_t size)
{
    return sink->write(sink, data, size);
}

struct sink_fd {
    struct sink sink;
    int fd;           /* borrowed */
    uint64_t n_bytes; /* written so far */
};

struct sink_memory {
    struct sink sink;
    char *data; /* borrowed */
    size_t size, capacity;
};

/* Writes to `fd`; repeats short and interrupted writes.  -ENOSPC, -EIO, ... of write(2),
 * without its SIGPIPE and SIGXFSZ. */
void sink_fd_init(struct sink_fd *sink, int fd);

/* Appends to data[0..capacity); -ENOSPC when it does not fit (then nothing is appended). */
void sink_memory_init(struct sink_memory *sink, char *data, size_t capacity);

#endif
