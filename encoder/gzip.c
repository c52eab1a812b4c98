#include "encoder/gzip.h"

#include <errno.h>
#include <limits.h>

enum { LEVEL = 1, GZIP_WRAPPER = 16, MEMORY_LEVEL = 8 /* zlib's default */ };

static void *workspace_zalloc(void *work, unsigned n, unsigned size)
{
    return workspace_take_array(work, n, size);
}

static void workspace_zfree(void *work, void *piece)
{
    (void)work;
    (void)piece;  // goes with the workspace
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
        const int err = n > 0 ? sink_write(gzip->to, gzip->output, n) : 0;
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
    const int status = deflateInit2(&gzip->zlib, LEVEL, Z_DEFLATED, MAX_WBITS + GZIP_WRAPPER,
                                    MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    /* Level 1 looks at 4 candidates and takes the first of 8 bytes.  2 of them, but 32 bytes: files are as
     * large (-2 to +1 %), and where stacks have little in common, which takes longest, it is a tenth faster. */
    return status == Z_OK && deflateTune(&gzip->zlib, 4, 8, 32, 2) == Z_OK ? 0 : -ENOMEM;
}

int gzip_finish(struct gzip *gzip)
{
    gzip->zlib.avail_in = 0;
    return deflate_pending(gzip, Z_FINISH);
}
