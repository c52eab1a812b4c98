/* profile - see profile.h. */
#include "agent/profile.h"

#include <string.h>

#include "agent/contention.h"
#include "agent/heap.h"
#include "agent/objects.h"
#include "agent/opened.h"
#include "agent/threadcreate.h"
#include "base/arena.h"
#include "base/compiler.h"
#include "base/pool.h"

/* By number: those of the overflow come first and need no memory. */
static struct record overflow_records[N_SOURCES];
static struct pool records LARGE; /* by number - N_SOURCES */
/* Those of the overflow of sources made at run time; NULL: not there yet. */
static struct record *_Atomic made_overflow[SOURCES_MADE_MAX] LARGE;
static _Atomic uint32_t n_made;

/* Gives it its number. */
static bool take_number(struct record *record)
{
    uint32_t id;

    if (!pool_number(&records, &id))
        return false;
    record->id = N_SOURCES + id;
    return true;
}

static void publish(struct record *record)
{
    pool_set(&records, record->id - N_SOURCES, record);
}

static void init_overflow(struct record *record, uint32_t source)
{
    record->stack = &stack_overflow;
    record->source = source;
}

void profile_init(void)
{
    for (uint32_t source = 0; source < N_SOURCES; source++) {
        init_overflow(&overflow_records[source], source);
        overflow_records[source].id = source;
    }
}

uint32_t record_new_source(void)
{
    struct record *record = arena_alloc(sizeof *record);
    uint32_t n = load_relaxed(&n_made);

    if (!record)
        return 0;
    do
        if (n == SOURCES_MADE_MAX)
            return 0;
    while (!cas_relaxed(&n_made, &n, n + 1));
    init_overflow(record, N_SOURCES + n);
    if (!take_number(record))
        return 0;
    publish(record);
    if (!thread_add_source(N_SOURCES + n))
        return 0;
    store_release(&made_overflow[n], record); /* pairs with overflow_of */
    return N_SOURCES + n;
}

static struct record *overflow_of(uint32_t source)
{
    return source < N_SOURCES ? &overflow_records[source]
                              : load_acquire(&made_overflow[source - N_SOURCES]);
}

struct record *record_get(uint32_t id)
{
    return id < N_SOURCES ? &overflow_records[id] : pool_get(&records, id - N_SOURCES);
}

size_t records_count(void)
{
    return N_SOURCES + pool_count(&records);
}

/* ---- records of a stack ---- */

struct record_key {
    struct trie_key key;
    struct stack *stack;
    uint32_t source;
    uint64_t tag;
};

static bool is_same(struct trie_item *item, const struct trie_key *key)
{
    const struct record *record = (const void *)item;
    const struct record_key *wanted = (const void *)key;

    return record->tag == wanted->tag && record->source == wanted->source;
}

static struct trie_item *make(const struct trie_key *key)
{
    const struct record_key *wanted = (const void *)key;
    struct record *record = arena_alloc(sizeof *record);

    if (!record || !take_number(record))
        return NULL;
    record->item.hash = key->hash;
    record->stack = wanted->stack;
    record->source = wanted->source;
    record->tag = wanted->tag;
    publish(record); /* one that loses the race stays, with zeros */
    return &record->item;
}

struct record *record_intern(uint32_t source, struct stack *stack, uint64_t tag)
{
    const uint64_t mixed = (tag * SOURCES_MAX + source) * 0x9e3779b97f4a7c15;
    const struct record_key key = {
        .key = {.hash = mixed ^ mixed >> 32, .is_same = is_same, .make = make},
        .stack = stack,
        .source = source,
        .tag = tag,
    };

    if (stack == &stack_overflow)
        return overflow_of(source);
    struct trie_item *item = trie_slot_intern(&stack->records, &key.key, NULL);
    return item ? (struct record *)item : overflow_of(source);
}

/* ---- shards ---- */

/* Shards of one number lie together: processors fetch cache lines in pairs, so a neighbour that belongs
 * to another thread would be as bad as a shared line. */
static struct shard *shard_alloc(uint32_t shard)
{
    enum { PAGE_BYTES = 4096 };
    static _Atomic uintptr_t
        next[THREAD_SHARDS]; /* in a page of that number; at its end: used up */
    uintptr_t at = load_relaxed(&next[shard]);

    for (;;) {
        if (at % PAGE_BYTES != 0) {
            if (cas_acq_rel(&next[shard], &at, at + sizeof(struct shard)))
                return (struct shard *)at;
            continue;
        }
        char *page = arena_map(PAGE_BYTES); /* its first shard is ours */
        if (!page)
            return NULL;
        if (cas_acq_rel(&next[shard], &at, (uintptr_t)page + sizeof(struct shard)))
            return (struct shard *)page;
        arena_unmap(page, PAGE_BYTES);
    }
}

static COLD struct shard *add_shard(struct record *record, uint32_t shard)
{
    struct shard *none = NULL, *fresh = shard_alloc(shard);

    if (!fresh)
        return &record->first;
    return cas_acq_rel(&record->others[shard - 1], &none, fresh) ? fresh : none;
}

struct shard *record_shard(struct record *record)
{
    const struct thread *thread = thread_record();
    const uint32_t shard = thread ? thread->shard : 0;

    if (shard == 0)
        return &record->first;
    struct shard *other = load_acquire(&record->others[shard - 1]); /* pairs with add_shard */
    return likely(other != NULL) ? other : add_shard(record, shard);
}

void record_each_shard(struct record *record, void (*visit)(struct shard *shard, void *arg),
                       void *arg)
{
    visit(&record->first, arg);
    for (size_t i = 0; i < COUNT_OF(record->others); i++) {
        struct shard *shard = load_acquire(&record->others[i]);
        if (shard)
            visit(shard, arg);
    }
}

/* ---- the table ---- */

#define TYPES(...) \
    { \
        __VA_ARGS__ \
    }
#define TYPE(type, unit) \
    { \
        type, unit \
    }
#define PROFILE(name, source, types, default_type, period_type, tag, current, description) \
    static const struct pprof_type name##_types[] = types;
#include "agent/profiles.def"
#undef PROFILE

#define NO_MOMENT         .current = NULL
#define MOMENT(name)      .current = name##_current, .current_max = name##_current_max
#define NO_TAG            .tag = TAG_NONE
#define BYTES(label)      .tag = TAG_BYTES, .tag_label = (label)
#define TEXT(label, text) .tag = TAG_TEXT, .tag_label = (label), .tag_text = (text)
#define PLACE(label)      .tag = TAG_PLACE, .tag_label = (label)

/* NOLINTBEGIN(bugprone-macro-parentheses): of_period is an initialiser */
const struct profile profiles[] = {
#define PROFILE(id, from, all_types, by_default, of_period, of_tag, of_moment, text_) \
    {.name = #id, \
     .description = (text_), \
     .source = (from), \
     .types = id##_types, \
     .n_types = COUNT_OF(id##_types), \
     .default_type = (by_default), \
     .period_type = of_period, \
     .period = id##_period, \
     .read = id##_read, \
     of_moment, \
     of_tag, \
     .comment = id##_comment},
#include "agent/profiles.def"
#undef PROFILE
};
/* NOLINTEND(bugprone-macro-parentheses) */
const size_t n_profiles = COUNT_OF(profiles);

/* The built-in profile with the smallest name above `name`, or NULL. */
static const struct profile *built_in_after(const char *name)
{
    const struct profile *first = NULL;

    for (size_t i = 0; i < n_profiles; i++)
        if (strcmp(profiles[i].name, name) > 0 &&
            (!first || strcmp(profiles[i].name, first->name) < 0))
            first = &profiles[i];
    return first;
}

const struct profile *profile_next(const struct profile *last)
{
    const char *name = last ? last->name : "";
    const struct profile *built_in = built_in_after(name), *made = objects_after(last);

    if (!built_in || !made)
        return built_in ? built_in : made;
    return strcmp(built_in->name, made->name) < 0 ? built_in : made;
}

const struct profile *profile_find(const char *name)
{
    for (size_t i = 0; i < n_profiles; i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    const struct objects *objects = objects_find(name);
    return objects ? objects_profile(objects) : NULL;
}

size_t profile_count(const struct profile *profile)
{
    const bool sums = strcmp(profile->types[0].type, profile->name) == 0;
    int64_t values[PPROF_TYPES_MAX];
    size_t n = 0;

    if (profile->objects)
        return objects_count(profile->objects);
    for (uint32_t id = 0; id < records_count(); id++) {
        struct record *record = record_get(id);
        bool any = false;
        if (!record || record->source != profile->source)
            continue;
        profile->read(record, values);
        for (size_t i = 0; i < profile->n_types; i++)
            any |= values[i] != 0;
        n += sums ? (size_t)values[0] : any;
    }
    return n;
}
