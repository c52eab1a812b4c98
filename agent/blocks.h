/* blocks - a sink of unknown size: an answer that is written first and sent later.
 *
 * A list of pieces of memory, each twice as large as the one before (16 KiB to 1 MiB), given back one by one
 * as they are sent.  So an answer of any size costs at most twice its bytes, under the cap like everything else.
 *
 * Signal-safe; one list belongs to one job. */
#ifndef CPROF_AGENT_BLOCKS_H
#define CPROF_AGENT_BLOCKS_H

#include <stddef.h>

#include "base/sink.h"

struct block;
struct blocks {
    struct sink sink; /* -ENOMEM: the cap leaves no room */
    struct block *first, *last;
    size_t n_bytes; /* written so far */
};

void blocks_init(struct blocks *blocks);

/* The oldest bytes that were not dropped yet; NULL: none. */
const char *blocks_peek(const struct blocks *blocks, size_t *ret_size);
/* `n` of them are not needed any more. */
void blocks_skip(struct blocks *blocks, size_t n);
/* All of it. */
void blocks_drop(struct blocks *blocks);

#endif
