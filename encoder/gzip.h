/* gzip - a sink that compresses what it gets into another sink.
 *
 * One gzip member (RFC 1952), level 1, without name and time, so equal input gives equal bytes.  zlib's
 * state and the output buffer come from a workspace: GZIP_WORKSPACE_BYTES per stream, all
 * taken in gzip_init().  A stream holds nothing else, so one that failed is just forgotten.
 *
 * A beginning can be compressed once and end in several ways: gzip_split() ends it at a whole byte, and each
 * gzip_go_on() starts there with an empty window, so that what follows does not refer back.
 *
 * Each write costs a call of deflate(): callers collect some KiB first.
 *
 * Signal-safe, no malloc; one stream belongs to one job. */
#ifndef CPROF_ENCODER_GZIP_H
#define CPROF_ENCODER_GZIP_H

#define ZLIB_CONST /* next_in points to const */
#include <stdbool.h>
#include <zlib.h>

#include "base/sink.h"
#include "base/workspace.h"

/* zlib 1.2 and 1.3 take 262 to 278 KiB (window, chains, heads, pending), the output 16. */
enum { GZIP_OUTPUT_BYTES = 16 << 10, GZIP_WORKSPACE_BYTES = (288 << 10) + GZIP_OUTPUT_BYTES };

struct gzip {
    struct sink sink;
    struct sink *to; /* borrowed; of the compressed bytes */
    z_stream zlib;
    unsigned char *output; /* GZIP_OUTPUT_BYTES, of the workspace */
    bool has_header;
    struct gzip_check {
        uint32_t crc, n_bytes; /* of all that was written; modulo 2^32 */
    } check;
};

/* -ENOMEM: the workspace has no GZIP_WORKSPACE_BYTES left.  Writes nothing yet. */
int gzip_init(struct gzip *gzip, struct sink *to, struct workspace *work);

/* Writes what is left, to a whole byte.  *ret_check is for gzip_go_on(). */
int gzip_split(struct gzip *gzip, struct gzip_check *ret_check);

/* From the place of gzip_split(), into `to`, which has got everything before it. */
void gzip_go_on(struct gzip *gzip, const struct gzip_check *check, struct sink *to);

/* Writes what is left and the trailer; call it once, and only when no write has failed. */
int gzip_finish(struct gzip *gzip);

#endif
