/* profile - what is counted, per stack.
 *
 * A struct record is one (profile, stack, tag): for heap the tag is the size class.  Records stand in a small
 * trie of their stack and in a numbered pool, are never freed, and hold counters that only grow.  The
 * counters of a record are split into shards, one cache line each, that threads choose by their number:
 * so threads that allocate from the same stack do not fight for a line.  Shard 0 lies in the record,
 * the others come with the first thread that needs them.  Where memory is out, shard 0 serves.
 *
 * What the numbers of a shard mean is the profile's business; profiles.def names the profiles.
 *
 * Lock-free, signal-safe. */
#ifndef CPROF_AGENT_PROFILE_H
#define CPROF_AGENT_PROFILE_H

#include <stddef.h>
#include <stdint.h>

#include "agent/source.h"
#include "agent/stacktab.h"
#include "agent/thread.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "encoder/pprof.h"

enum { SHARD_VALUES = 8 };

struct ALIGNED(64) shard {
    _Atomic uint64_t values[SHARD_VALUES];
};

struct record {
    struct trie_item item; /* in the stack's trie, by (source, tag) */
    struct stack *stack;
    uint64_t tag;
    uint32_t id;     /* record_get() */
    uint32_t source; /* source.h */
    struct shard *_Atomic others[THREAD_SHARDS - 1];
    struct shard first;
};

/* Once, from the constructor. */
void profile_init(void);

/* The record of (source, stack, tag), made when it is new.  Without memory: the source's record
 * of stack_overflow, which always exists, with tag 0. */
struct record *record_intern(uint32_t source, struct stack *stack, uint64_t tag);

/* A source more, for a profile that is made at run time. 0: no memory, or SOURCES_MADE_MAX are there. */
uint32_t record_new_source(void);

struct record *record_get(uint32_t id);
size_t records_count(void);

/* The calling thread's shard of it. */
struct shard *record_shard(struct record *record);

/* Calls visit() for each shard that exists. */
void record_each_shard(struct record *record, void (*visit)(struct shard *shard, void *arg),
                       void *arg);

/* ---- the profiles, one line each in profiles.def ---- */

/* What a record's tag is, as a label. */
enum profile_tag {
    TAG_NONE,
    TAG_BYTES, /* number with a unit */
    TAG_TEXT,  /* index of a text */
    TAG_PLACE, /* location number: the name of the function there */
};

/* A sample that is no record: what is true at the moment of the snapshot. */
struct profile_sample {
    struct stack *stack;
    uint64_t tag;
    const int64_t *values;            /* n_types; copied by add() */
    const char *state;                /* label, or NULL */
    int tid;                          /* thread whose name is a label; 0: none */
    const struct pprof_label *labels; /* more of them; copied by add() with their texts */
    uint32_t n_labels;
};
struct profile_current {
    void (*add)(const struct profile_current *current, const struct profile_sample *sample);
    void *arg;
};

struct objects;

struct profile {
    const char *name;
    const char *description;
    uint32_t source;
    const struct pprof_type *types;
    size_t n_types;
    const char *default_type; /* or NULL */
    struct pprof_type period_type;
    uint64_t (*period)(void); /* NULL: 1 */
    /* Fills values[n_types] of one record; NULL where `objects` has them. */
    void (*read)(struct record *record, int64_t *ret_values);
    enum profile_tag tag;
    const char *tag_label;                 /* NULL with TAG_NONE */
    const char *(*tag_text)(uint64_t tag); /* of TAG_TEXT */
    /* Adds what is true at the moment, or NULL: nothing is. */
    void (*current)(const struct profile_current *current);
    size_t (*current_max)(void); /* how many samples that is at the most, about */
    /* Adds the source's own comment lines, through add(arg, line); NULL: it has none. */
    void (*comment)(void (*add)(void *arg, const char *line), void *arg);
    struct objects
        *objects; /* made at run time: values and comments are asked there; NULL: built in */
};

extern const struct profile profiles[];
extern const size_t n_profiles;

/* All profiles there are, built in or made at run time, sorted by name: the one after `last` (NULL: the first);
 * NULL: there is no more. */
const struct profile *profile_next(const struct profile *last);
const struct profile *profile_find(const char *name);

/* Live values of a profile made at run time; of one that counts things (NAME/count) their number; else the stacks
 * that have a value. */
size_t profile_count(const struct profile *profile);

#endif
