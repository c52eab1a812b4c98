/* threadcreate - see threadcreate.h. */
#include "agent/threadcreate.h"

#include <errno.h>

#include "agent/locations.h"
#include "agent/profile.h"
#include "agent/sample.h"
#include "agent/stacktab.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/pool.h"

static _Atomic bool is_on;

/* ---- blocks ---- */

struct block {
    struct threadcreate_entry entry;
    uint32_t id;
    _Atomic uint32_t next; /* on the free list: number + 1 */
};

static struct pool blocks;
static _Atomic uint64_t free_list; /* times changed : 32 | number of the first + 1 : 32 */

static struct block *take_free(void)
{
    uint64_t head = load_acquire(&free_list); /* pairs with give_back */

    while ((uint32_t)head) {
        struct block *block = pool_get(&blocks, (uint32_t)head - 1);
        const uint64_t next = ((head >> 32) + 1) << 32 | load_relaxed(&block->next);
        if (cas_acq_rel(&free_list, &head, next))
            return block;
    }
    return NULL;
}

static void give_back(struct block *block)
{
    uint64_t head = load_relaxed(&free_list);

    do
        store_relaxed(&block->next, (uint32_t)head);
    while (!cas_acq_rel(&free_list, &head, ((head >> 32) + 1) << 32 | (block->id + 1)));
}

static struct block *make_block(void)
{
    struct block *block = arena_alloc(sizeof *block);

    if (!block || !pool_number(&blocks, &block->id))
        return NULL;
    pool_set(&blocks, block->id, block);
    return block;
}

uint32_t threadcreate_put(struct threadcreate_entry entry)
{
    struct block *block = NULL;

    if (load_relaxed(&is_on) && !(block = take_free()))
        block = make_block();
    if (!block)
        return 0;
    block->entry = entry;
    return block->id + 1;
}

struct threadcreate_entry threadcreate_take(uint32_t number)
{
    struct block *block = pool_get(&blocks, number - 1);
    const struct threadcreate_entry entry = block->entry;

    give_back(block);
    return entry;
}

struct threadcreate_entry threadcreate_begin(uint32_t number)
{
    thread_own_record();
    return threadcreate_take(number);
}

/* ---- counting ---- */

struct creation {
    struct sample sample;
    uint32_t entry; /* location */
};

static void use_stack(struct sample *sample, struct stack *stack)
{
    const struct creation *creation = (const void *)sample;
    struct record *record = sample_record(SOURCE_THREADCREATE, stack, creation->entry);

    add_counter(&record_shard(record)->values[0], 1);
}

void threadcreate_count(const void *function)
{
    const int saved_errno = errno;
    struct creation creation = {
        .sample = {.source = SOURCE_THREADCREATE, .use = use_stack}
    };

    if (load_relaxed(&is_on)) {
        creation.entry = stacktab_locate((uintptr_t)function);
        sample_take(&creation.sample);
    }
    errno = saved_errno;
}

void threadcreate_init(bool on)
{
    store_relaxed(&is_on, on);
}

/* ---- the profile ---- */

uint64_t threadcreate_period(void)
{
    return 1;
}

static void sum_shard(struct shard *shard, void *arg)
{
    *(int64_t *)arg += (int64_t)load_relaxed(&shard->values[0]);
}

void threadcreate_read(struct record *record, int64_t *ret_values)
{
    ret_values[0] = 0;
    record_each_shard(record, sum_shard, ret_values);
}

void threadcreate_comment(void (*add)(void *arg, const char *line), void *arg)
{
    (void)add;
    (void)arg;
}
