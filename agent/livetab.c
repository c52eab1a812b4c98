/* livetab - see livetab.h. */
#include "agent/livetab.h"

#include "agent/thread.h"
#include "base/arena.h"
#include "base/compiler.h"

enum { FREE = 0, CLAIMED = 1, OLDER = 0 };
enum { LINE_SLOTS = 4, BUCKET_SLOTS = 2 * LINE_SLOTS, N_LINES = 4 };

/* The first level has two pages: one that is touched for the first time costs more than a sample. */
enum { FIRST_BUCKETS = 64, FEW_BUCKETS = 1024 };

static const uint64_t BIRTH_MASK = ((uint64_t)1 << LIVETAB_BIRTH_BITS) - 1;

struct live_slot {
    _Atomic uint64_t key;
    _Atomic uint64_t value;
};

static bool is_odd(uintptr_t address)
{
    return address & 7 || address >> LIVETAB_ADDRESS_BITS || !address;
}

/* Birth as stored: 1..BIRTH_MASK, so that 0 is free to mean "older". */
static uint64_t to_birth(uint64_t now_s)
{
    return now_s % BIRTH_MASK + 1;
}

static uint64_t to_key(uintptr_t address, uint64_t birth)
{
    return (uint64_t)(address >> 3) << LIVETAB_BIRTH_BITS | birth;
}

static uintptr_t key_address(uint64_t key)
{
    return (uintptr_t)(key >> LIVETAB_BIRTH_BITS) << 3;
}

static uint64_t key_age_s(uint64_t key, uint64_t now_s)
{
    const uint64_t birth = key & BIRTH_MASK;

    if (birth == OLDER)
        return LIVETAB_HORIZON_S;
    const uint64_t age = (to_birth(now_s) + BIRTH_MASK - birth) % BIRTH_MASK;
    /* A birth that another thread read one tick later than `now_s`. */
    return age > BIRTH_MASK - 8 ? 0 : age;
}

static uint64_t hash_address(uintptr_t address)
{
    uint64_t x = address >> 3;

    x = (x ^ x >> 32) * 0x9e3779b97f4a7c15;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
    return x ^ x >> 32;
}

/* The four cache lines in which an address may stand: two places in each half of the level.  Even threads
 * begin with the lower half, odd ones with the upper, so that two threads write to lines far apart
 * (neighbours would not do: processors fetch lines in pairs). */
struct lines {
    struct live_slot *slots[N_LINES]; /* two of this thread's half, two of the other */
};

static struct lines find_lines(const struct live_level *level, uint64_t hash)
{
    const uint64_t n_half = load_relaxed(&level->n_buckets);
    struct live_slot *slots = load_relaxed(&level->slots);
    const struct thread *thread = thread_self.record;
    const size_t upper = n_half * LINE_SLOTS;
    const size_t mine = thread && thread->shard % 2 ? upper : 0, other = upper - mine;
    const size_t a = ((hash & 0xffffffff) * n_half >> 32) * LINE_SLOTS;
    const size_t b = ((hash >> 32) * n_half >> 32) * LINE_SLOTS;

    return (struct lines){
        {slots + mine + a, slots + mine + b, slots + other + a, slots + other + b}
    };
}

/* ---- growing ---- */

/* Sizes depend on the level's number alone, so threads that grow at once make the same level, and
 * the one that loses the CAS gives its memory back. */
static uint64_t buckets_of_level(uint32_t n)
{
    uint64_t sum = FIRST_BUCKETS, last = FIRST_BUCKETS;

    for (uint32_t i = 0; i < n; i++) {
        last = sum < FEW_BUCKETS ? 3 * sum : sum / 2;
        sum += last;
    }
    return last;
}

/* A level more than the `n` that the caller saw. */
static bool grow(struct livetab *table, uint32_t n)
{
    const uint64_t n_buckets = buckets_of_level(n);
    const uint64_t size = n_buckets * BUCKET_SLOTS * sizeof(struct live_slot);
    struct live_slot *none = NULL;

    if (load_acquire(&table->n_levels) != n)
        return true;
    if (n == LIVETAB_LEVELS_MAX || n_buckets > UINT32_MAX)
        return false;
    if (!load_relaxed(&table->levels[n].slots)) {
        struct live_slot *slots = arena_map(size);
        if (!slots)
            return false;
        store_relaxed(&table->levels[n].n_buckets, (uint32_t)n_buckets);
        if (!cas_acq_rel(&table->levels[n].slots, &none, slots))
            arena_unmap(slots, size);
    }
    cas_acq_rel(&table->n_levels, &n, n + 1); /* publishes the level; lost: it is done */
    return true;
}

/* ---- putting ---- */

static void fill(struct live_slot *slot, uint64_t key, uint64_t value)
{
    store_relaxed(&slot->value, value);
    /* Pairs with load_acquire in take_from and livetab_each; and in the order of all of them
     * with the filter's switch (heap.c). */
    atomic_store_explicit(&slot->key, key, memory_order_seq_cst);
}

/* True when the line holds the key's address already: its free was not seen. */
static bool replace_in(struct live_slot *line, uint64_t key, uint64_t value, uint64_t *ret_old)
{
    for (int i = 0; i < LINE_SLOTS; i++) {
        uint64_t seen = load_relaxed(&line[i].key);
        if ((seen ^ key) >> LIVETAB_BIRTH_BITS == 0 &&
            cas_acq_rel(&line[i].key, &seen, CLAIMED)) {
            *ret_old = load_relaxed(&line[i].value);
            fill(&line[i], key, value);
            return true;
        }
    }
    return false;
}

/* The first free slot of a half's two lines, or NULL; *ret_same is set when the key's address stands
 * there. */
static struct live_slot *find_free(const struct lines *lines, int half, uint64_t key,
                                   bool *ret_same)
{
    struct live_slot *free_slot = NULL;

    for (int k = 2 * half; k < 2 * half + 2; k++) {
        for (int i = LINE_SLOTS; i-- > 0;) {
            struct live_slot *slot = &lines->slots[k][i];
            const uint64_t seen = load_relaxed(&slot->key);
            if (seen == FREE)
                free_slot = slot;
            *ret_same |= (seen ^ key) >> LIVETAB_BIRTH_BITS == 0;
        }
    }
    return free_slot;
}

/* The same address is looked for up to the half in which there is a place: the other half is other
 * threads' and costs too much to be read for that each time. */
static enum livetab_put put_into_level(const struct lines *lines, uint64_t key, uint64_t value,
                                       uint64_t *ret_old)
{
    for (int half = 0; half < 2;) {
        bool same = false;
        struct live_slot *slot = find_free(lines, half, key, &same);
        uint64_t seen = FREE;
        if (unlikely(same) && (replace_in(lines->slots[2 * half], key, value, ret_old) ||
                               replace_in(lines->slots[2 * half + 1], key, value, ret_old)))
            return LIVETAB_REPLACED;
        if (!slot) {
            half++;
        } else if (cas_acq_rel(&slot->key, &seen, CLAIMED)) { /* lost: look again */
            fill(slot, key, value);
            return LIVETAB_NEW;
        }
    }
    return LIVETAB_FULL;
}

enum livetab_put livetab_put(struct livetab *table, uintptr_t address, uint64_t value,
                             uint64_t now_s, uint64_t *ret_old)
{
    const uint64_t key = to_key(address, to_birth(now_s)), hash = hash_address(address);

    if (is_odd(address))
        return LIVETAB_ODD;
    for (;;) {
        const uint32_t n = load_acquire(&table->n_levels); /* pairs with grow's CAS */
        for (uint32_t i = n; i-- > 0;) {
            const struct lines lines = find_lines(&table->levels[i], hash);
            const enum livetab_put put = put_into_level(&lines, key, value, ret_old);
            if (put != LIVETAB_FULL)
                return put;
        }
        if (!grow(table, n))
            return LIVETAB_FULL;
    }
}

bool livetab_replace(struct livetab *table, uintptr_t address, uint64_t value, uint64_t now_s,
                     uint64_t *ret_old)
{
    const uint64_t key = to_key(address, to_birth(now_s)), hash = hash_address(address);

    if (is_odd(address))
        return false;
    for (uint32_t i = load_acquire(&table->n_levels); i-- > 0;) { /* pairs with grow's CAS */
        const struct lines lines = find_lines(&table->levels[i], hash);
        for (int k = 0; k < N_LINES; k++)
            if (replace_in(lines.slots[k], key, value, ret_old))
                return true;
    }
    return false;
}

/* ---- taking ---- */

static uint64_t take_from(struct live_slot *line, uint64_t address_bits, uint64_t *ret_value)
{
    for (int i = 0; i < LINE_SLOTS; i++) {
        uint64_t seen = load_acquire(&line[i].key); /* pairs with fill */
        while (seen >> LIVETAB_BIRTH_BITS ==
               address_bits) { /* the sweep may change its birth */
            if (!cas_acq_rel(&line[i].key, &seen, CLAIMED))
                continue;
            *ret_value = load_relaxed(&line[i].value);
            store_release(&line[i].key, FREE); /* pairs with put_into's CAS */
            return seen;
        }
    }
    return 0;
}

uint64_t livetab_take(struct livetab *table, uintptr_t address, uint64_t *ret_value)
{
    const uint64_t hash = hash_address(address), address_bits = address >> 3;

    if (is_odd(address))
        return 0;
    for (uint32_t i = load_acquire(&table->n_levels); i-- > 0;) { /* pairs with grow's CAS */
        const struct lines lines = find_lines(&table->levels[i], hash);
        for (int k = 0; k < N_LINES; k++) {
            const uint64_t key = take_from(lines.slots[k], address_bits, ret_value);
            if (key)
                return key;
        }
    }
    return 0;
}

uint64_t livetab_born_s(uint64_t taken, uint64_t now_s)
{
    return now_s - key_age_s(taken, now_s);
}

/* ---- walking ---- */

static size_t level_slots(const struct live_level *level)
{
    return (size_t)load_relaxed(&level->n_buckets) * BUCKET_SLOTS;
}

void livetab_each(struct livetab *table, uint64_t now_s,
                  void (*visit)(const struct live *live, void *arg), void *arg)
{
    const uint32_t n = load_acquire(&table->n_levels); /* pairs with grow's CAS */

    for (uint32_t level = 0; level < n; level++) {
        struct live_slot *slots = load_relaxed(&table->levels[level].slots);
        for (size_t i = 0; i < level_slots(&table->levels[level]); i++) {
            const uint64_t key = load_acquire(&slots[i].key); /* pairs with fill */
            if (key >> LIVETAB_BIRTH_BITS == 0)
                continue;
            const struct live live = {
                .address = key_address(key),
                .value = load_relaxed(&slots[i].value),
                .age_s = key_age_s(key, now_s),
                .value_at = &slots[i].value,
                .key_at = &slots[i].key,
            };
            if (load_acquire(&slots[i].key) == key)
                visit(&live, arg);
        }
    }
}

bool livetab_is_current(const struct live *live)
{
    return key_address(load_acquire(live->key_at)) == live->address;
}

static void sweep_level(const struct live_level *level, uint64_t now_s)
{
    struct live_slot *slots = load_relaxed(&level->slots);

    for (size_t i = 0; i < level_slots(level); i++) {
        uint64_t key = load_relaxed(&slots[i].key);
        if (key >> LIVETAB_BIRTH_BITS && key_age_s(key, now_s) >= LIVETAB_HORIZON_S)
            cas_relaxed(&slots[i].key, &key, key & ~BIRTH_MASK); /* lost: it is gone */
    }
}

void livetab_sweep(struct livetab *table, uint64_t now_s)
{
    enum { EVERY_S = LIVETAB_HORIZON_S / 4 };
    uint64_t due = load_relaxed(&table->next_sweep_s);

    if (likely(now_s < due) || !cas_relaxed(&table->next_sweep_s, &due, now_s + EVERY_S))
        return;
    if (due == 0) /* the first call: nothing is old */
        return;
    const uint32_t n = load_acquire(&table->n_levels); /* pairs with grow's CAS */
    for (uint32_t i = 0; i < n; i++)
        sweep_level(&table->levels[i], now_s);
}

uint64_t livetab_n_places(struct livetab *table)
{
    const uint32_t n = load_acquire(&table->n_levels); /* pairs with grow's CAS */
    uint64_t n_places = 0;

    for (uint32_t i = 0; i < n; i++)
        n_places += level_slots(&table->levels[i]);
    return n_places;
}
