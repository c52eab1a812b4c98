#include "base/sink.h"

#include <errno.h>
#include <string.h>

#include "base/quiet.h"

static int fd_write(struct sink *sink, const void *data, size_t size)
{
    struct sink_fd *to = (struct sink_fd *)sink;
    const char *from = data;

    while (size > 0) {
        const ssize_t n = quiet_write(to->fd, from, size);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;  // 0 would repeat for ever
        from += n;
        size -= (size_t)n;
        to->n_bytes += (uint64_t)n;
    }
    return 0;
}

static int memory_write(struct sink *sink, const void *data, size_t size)
{
    struct sink_memory *to = (struct sink_memory *)sink;

    if (size > to->capacity - to->size)
        return -ENOSPC;
    if (size > 0)
        memcpy(to->data + to->size, data, size);
    to->size += size;
    return 0;
}

void sink_fd_init(struct sink_fd *sink, int fd)
{
    *sink = (struct sink_fd){.sink.write = fd_write, .fd = fd};
}

void sink_memory_init(struct sink_memory *sink, char *data, size_t capacity)
{
    *sink = (struct sink_memory){.sink.write = memory_write, .capacity = capacity};
    sink->data = data;
}
