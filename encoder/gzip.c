#include "encoder/gzip.h"

#include <errno.h>
#include <limits.h>

enum { LEVEL = 1, RAW = -1, MEMORY_LEVEL = 8 /* zlib's default */ };

static const unsigned char header[10] = {
    0x1f, 0x8b, Z_DEFLATED,      0 /* no name */, 0,
    0,    0,    0 /* no time */, 4 /* fastest */, 3 /* Unix */};

static void *workspace_zalloc(void *work, unsigned n, unsigned size)
{
    return workspace_take_array(work, n, size);
}

static void workspace_zfree(void *work, void *piece)
{
    (void)work;
    (void)piece;  // goes with the workspace
}

static int put(struct gzip *gzip, const void *data, size_t n)
{
    if (!gzip->has_header) {
        const int err = sink_write(gzip->to, header, sizeof header);
        if (err < 0)
            return err;
        gzip->has_header = true;
    }
    return n > 0 ? sink_write(gzip->to, data, n) : 0;
}

/* Feeds the pending input to zlib until it wants more, or, with Z_FINISH, to the end. */
static int deflate_pending(struct gzip *gzip, int flush)
{
    z_stream *zlib = &gzip->zlib;
    int status;

    do {
        zlib->next_out = gzip->output;
        zlib->avail_out = GZIP_OUTPUT_BYTES;
        status = deflate(zlib, flush);
        if (status == Z_STREAM_ERROR)
            return -EINVAL;  // written to after gzip_finish()
        const size_t n = GZIP_OUTPUT_BYTES - zlib->avail_out;
        const int err = n > 0 || flush == Z_FINISH ? put(gzip, gzip->output, n) : 0;
        if (err < 0)
            return err;
    } while (zlib->avail_out == 0);
    return 0;
}

static int gzip_write(struct sink *sink, const void *data, size_t size)
{
    struct gzip *gzip = (struct gzip *)sink;
    const unsigned char *from = data;

    while (size > 0) {
        const unsigned n = size < UINT_MAX ? (unsigned)size : UINT_MAX;
        gzip->zlib.next_in = from;
        gzip->zlib.avail_in = n;
        const int err = deflate_pending(gzip, Z_NO_FLUSH);
        if (err < 0)
            return err;
        gzip->check.crc = (uint32_t)crc32(gzip->check.crc, from, n);
        gzip->check.n_bytes += n;
        from += n;
        size -= n;
    }
    return 0;
}

int gzip_init(struct gzip *gzip, struct sink *to, struct workspace *work)
{
    *gzip = (struct gzip){
        .sink.write = gzip_write,
        .to = to,
        .zlib = {.zalloc = workspace_zalloc, .zfree = workspace_zfree, .opaque = work},
        .output = workspace_take(work, GZIP_OUTPUT_BYTES),
    };
    if (!gzip->output)
        return -ENOMEM;
    const int status = deflateInit2(&gzip->zlib, LEVEL, Z_DEFLATED, RAW * MAX_WBITS,
                                    MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    /* Level 1 looks at 4 candidates and takes the first of 8 bytes.  2 of them, but 32 bytes: files are as
     * large (-2 to +1 %), and where stacks have little in common, which takes longest, it is a tenth faster. */
    return status == Z_OK && deflateTune(&gzip->zlib, 4, 8, 32, 2) == Z_OK ? 0 : -ENOMEM;
}

int gzip_split(struct gzip *gzip, struct gzip_check *ret_check)
{
    gzip->zlib.avail_in = 0;
    *ret_check = gzip->check;
    return deflate_pending(gzip, Z_SYNC_FLUSH);
}

void gzip_go_on(struct gzip *gzip, const struct gzip_check *check, struct sink *to)
{
    deflateReset(&gzip->zlib); /* cannot fail: it takes no memory */
    gzip->check = *check;
    gzip->to = to;
}

static void put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

int gzip_finish(struct gzip *gzip)
{
    unsigned char trailer[8];

    gzip->zlib.avail_in = 0;
    const int err = deflate_pending(gzip, Z_FINISH);
    if (err < 0)
        return err;
    put_u32(trailer, gzip->check.crc);
    put_u32(trailer + 4, gzip->check.n_bytes);
    return put(gzip, trailer, sizeof trailer);
}
