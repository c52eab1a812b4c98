/* streams - what the tests of sinks and encoders share: a sink that fails, and gunzip. */
#ifndef CPROF_TESTS_STREAMS_H
#define CPROF_TESTS_STREAMS_H

#include <errno.h>
#include <stdlib.h>

#include "base/sink.h"
#include "base/workspace.h"
#include "encoder/gzip.h"

/* Takes n_good writes and answers -EDQUOT, which nobody else does, from then on. */
struct sink_failing {
    struct sink sink;
    size_t n_good;
    size_t n_after; /* writes after the first failure */
    int failed;
};

static inline int failing_write(struct sink *sink, const void *data, size_t size)
{
    struct sink_failing *to = (struct sink_failing *)sink;

    (void)data, (void)size;
    to->n_after += (size_t)to->failed;
    to->failed = to->failed || to->n_good == 0;
    to->n_good -= !to->failed;
    return to->failed ? -EDQUOT : 0;
}

/* A heap block of exactly `size` bytes, so that ASan sees an overrun; free(work.base). */
static inline struct workspace workspace_new(size_t size)
{
    return (struct workspace){.base = calloc(1, size), .size = size};
}

/* The content of `packed`, which must be exactly one gzip member; free() it.  NULL if not. */
static inline unsigned char *gunzip(const void *packed, size_t packed_size, size_t *ret_size)
{
    const size_t capacity = 64 << 20;
    unsigned char *content = malloc(capacity);
    z_stream z = {.avail_in = (unsigned)packed_size, .next_in = packed};

    z.next_out = content;
    z.avail_out = (unsigned)capacity;
    const int one_member = inflateInit2(&z, MAX_WBITS + 16) == Z_OK &&
                           inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0;
    *ret_size = z.total_out;
    inflateEnd(&z);
    if (!one_member) {
        free(content);
        return NULL;
    }
    return content;
}

#endif
