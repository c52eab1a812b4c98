/* pool - numbers for things that live for ever: 0, 1, 2, ... -> pointer.
 *
 * A directory of pages of 1024 pointers, from the arena.  A number is taken with one atomic add and
 * its pointer is published after; until then, and when memory was out, pool_get() returns NULL.
 *
 * Lock-free, any thread, signal-safe. */
#ifndef CPROF_BASE_POOL_H
#define CPROF_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

enum { POOL_PAGE = 1024, POOL_PAGES = 4096, POOL_MAX = POOL_PAGE * POOL_PAGES };

typedef void *_Atomic pool_slot;

struct pool {
    _Atomic uint32_t n; /* beside the first page: one page of memory as long as there are few */
    pool_slot *_Atomic pages[POOL_PAGES];
};

/* Reserves the next number. False: the pool or the memory is at its end. */
bool pool_number(struct pool *pool, uint32_t *ret_id);
/* Publishes what stands behind a number of pool_number(). */
void pool_set(struct pool *pool, uint32_t id, void *item);

void *pool_get(const struct pool *pool, uint32_t id);
/* Numbers given out so far. */
uint32_t pool_count(const struct pool *pool);

#endif
