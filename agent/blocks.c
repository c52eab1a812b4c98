/* blocks - see blocks.h. */
#include "agent/blocks.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/atomic.h"

enum { LEAST_BYTES = 16 << 10, MOST_BYTES = 1 << 20 };

struct block {
    struct block *next;
    size_t begin, end, capacity; /* data[begin, end) is kept */
    char data[];
};

static int add_block(struct blocks *blocks)
{
    size_t size = LEAST_BYTES;

    if (blocks->last && blocks->last->capacity + sizeof(struct block) < MOST_BYTES)
        size = 2 * (blocks->last->capacity + sizeof(struct block));
    else if (blocks->last)
        size = MOST_BYTES;
    struct block *block = arena_map_job(size);
    if (!block)
        return -ENOMEM;
    block->capacity = size - sizeof *block;
    if (blocks->last)
        blocks->last->next = block;
    else
        blocks->first = block;
    blocks->last = block;
    return 0;
}

static int blocks_write(struct sink *sink, const void *data, size_t size)
{
    struct blocks *blocks = (struct blocks *)sink;
    const char *from = data;

    while (size > 0) {
        struct block *last = blocks->last;
        const size_t room = last ? last->capacity - last->end : 0;
        const size_t n = size < room ? size : room;
        if (room == 0) {
            const int err = add_block(blocks);
            if (err < 0)
                return err;
            continue;
        }
        memcpy(last->data + last->end, from, n);
        last->end += n;
        blocks->n_bytes += n;
        from += n;
        size -= n;
    }
    return 0;
}

void blocks_init(struct blocks *blocks)
{
    *blocks = (struct blocks){.sink.write = blocks_write};
}

static void drop_first(struct blocks *blocks)
{
    struct block *block = blocks->first;

    blocks->first = block->next;
    if (!blocks->first)
        blocks->last = NULL;
    atomic_signal_fence(memory_order_seq_cst); /* a forked child drops what it finds */
    arena_unmap(block, block->capacity + sizeof *block);
}

const char *blocks_peek(const struct blocks *blocks, size_t *ret_size)
{
    const struct block *first = blocks->first;

    *ret_size = first ? first->end - first->begin : 0;
    return *ret_size ? first->data + first->begin : NULL;
}

void blocks_skip(struct blocks *blocks, size_t n)
{
    blocks->first->begin += n;
    if (blocks->first->begin == blocks->first->end)
        drop_first(blocks);
}

void blocks_drop(struct blocks *blocks)
{
    while (blocks->first)
        drop_first(blocks);
    blocks->n_bytes = 0;
}
