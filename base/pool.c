/* pool - see pool.h. */
#include "base/pool.h"

#include "base/arena.h"

static pool_slot *page_of(struct pool *pool, uint32_t id)
{
    pool_slot *_Atomic *at = &pool->pages[id / POOL_PAGE];
    pool_slot *page = load_acquire(at); /* pairs with the CAS below */

    if (page)
        return page;
    pool_slot *fresh = arena_alloc(POOL_PAGE * sizeof *fresh);
    if (!fresh)
        return NULL;
    return cas_acq_rel(at, &page, fresh) ? fresh : page; /* lost: the piece stays unused */
}

bool pool_number(struct pool *pool, uint32_t *ret_id)
{
    uint32_t id = load_relaxed(&pool->n);

    do {
        if (id >= POOL_MAX || !page_of(pool, id))
            return false;
    } while (!cas_relaxed(&pool->n, &id, id + 1));
    *ret_id = id;
    return true;
}

void pool_set(struct pool *pool, uint32_t id, void *item)
{
    pool_slot *page = load_acquire(&pool->pages[id / POOL_PAGE]);

    store_release(&page[id % POOL_PAGE], item); /* pairs with load_acquire in pool_get */
}

void *pool_get(const struct pool *pool, uint32_t id)
{
    pool_slot *page = id < POOL_MAX ? load_acquire(&pool->pages[id / POOL_PAGE]) : NULL;

    return page ? load_acquire(&page[id % POOL_PAGE]) : NULL;
}

uint32_t pool_count(const struct pool *pool)
{
    return load_relaxed(&pool->n);
}
