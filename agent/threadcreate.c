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
    uint32_t id, creator;  /* its number; the creator's record */
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

static uint32_t put(struct threadcreate_entry entry, const struct record *record)
{
    struct block *block = take_free();

    if (!block && !(block = make_block()))
        return 0;
    block->entry = entry;
    block->creator = record ? record->id : 0;
    return block->id + 1;
}

struct threadcreate_entry threadcreate_begin(uint32_t number)
{
    struct block *block = pool_get(&blocks, number - 1);
    const struct threadcreate_entry entry = block->entry;
    struct thread *thread = thread_own_record();

    if (thread)
        store_relaxed(&thread->creator, block->creator);
    give_back(block);
    return entry;
}

/* ---- counting ---- */

struct creator {
    struct sample sample;
    uint32_t entry; /* location */
    struct record *record;
};

static void use_stack(struct sample *sample, struct stack *stack)
{
    struct creator *creator = (void *)sample;

    creator->record = sample_record(SOURCE_THREADCREATE, stack, creator->entry);
}

struct threadcreate threadcreate_prepare(struct threadcreate_entry entry)
{
    const int saved_errno = errno;
    struct creator creator = {
        .sample = {.source = SOURCE_THREADCREATE, .use = use_stack}
    };
    struct threadcreate creation = {0};

    if (load_relaxed(&is_on)) {
        creator.entry = stacktab_locate((uintptr_t)entry.function);
        sample_take(&creator.sample);
        creation.record = creator.record;
        creation.block = put(entry, creator.record);
    }
    errno = saved_errno;
    return creation;
}

void threadcreate_end(struct threadcreate creation, bool is_created)
{
    if (is_created && creation.record)
        add_counter(&record_shard(creation.record)->values[0], 1);
    if (!is_created && creation.block)
        give_back(pool_get(&blocks, creation.block - 1));
}

void threadcreate_set_on(bool on)
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
