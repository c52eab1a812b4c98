/* objects - profiles of live objects that are made at run time: value -> the stack that added it.
 *
 * As Go's custom profiles: objects_add() takes the caller's stack, objects_remove() forgets the value, and the profile
 * shows what is there: NAME/count, one for each live value, and where it was asked for NAME_space/bytes.
 * A profile is made once and never goes away; all of them form a list sorted by name.  Each has a source number of
 * its own (source.h), a table of its values (valuetab.h), from which a snapshot counts what is there,
 * and two counters that only grow: added and removed.
 *
 * A value whose stack cannot be taken (a signal handler that interrupted the agent, no room on the stack) is kept
 * all the same, under [lost], so that no live value is missing.
 *
 * Lock-free; any thread, signal-safe, errno is kept.  A vfork child shares its parent's values: who adds, takes or makes
 * asks thread_is_borrowed() before. */
#ifndef CPROF_AGENT_OBJECTS_H
#define CPROF_AGENT_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/profile.h"

enum { OBJECTS_NAME_MAX = 255 };

struct objects;

/* 0; -EINVAL: the name is empty, longer than OBJECTS_NAME_MAX bytes or has white space in it; -EEXIST: there is such a
 * profile, built in or made; -ENOSPC: no memory, or SOURCES_MADE_MAX are there. */
int objects_new(const char *name, bool has_bytes, struct objects **ret);

/* NULL: there is none. */
struct objects *objects_find(const char *name);

/* The first one whose name comes after that of `last`, which may be any profile; NULL: the first of all. */
const struct profile *objects_after(const struct profile *last);

const struct profile *objects_profile(const struct objects *objects);

/* Adds a value under the caller's stack without its first `skip` frames.  Frames of the agent do not count: skip 0 is
 * the function that called into libcprof.so.  `bytes`: its weight, where the profile has bytes.
 * 0; -EEXIST: the value is there already, and stays with its first stack; -ENOMEM: counted as dropped. */
int objects_add(struct objects *objects, uint64_t value, uint64_t bytes, uint32_t skip);

/* Looks only: a vfork child may ask. */
bool objects_has(struct objects *objects, uint64_t value);

/* False: the value is not there, which is no error. */
bool objects_remove(struct objects *objects, uint64_t value);

struct object {
    uint64_t value;
    uint64_t bytes;
    uint64_t age_s;
    struct record *record; /* of the stack that added it */
};
/* The same, and what was there for objects_put_back(): the value is alive after all.  When it was added anew meanwhile,
 * or memory is out, it is not put back. */
bool objects_take(struct objects *objects, uint64_t value, struct object *ret_object);
void objects_put_back(struct objects *objects, const struct object *object);

/* Live values now, without walking; a handler that leaves objects_add() by siglongjmp may make it wrong by one. */
uint64_t objects_count(struct objects *objects);
/* Cells of the value tables of all profiles that are made at run time. */
uint64_t objects_n_cells(void);
/* All that were ever added. */
uint64_t objects_n_added(struct objects *objects);

/* Calls visit() for every value that is there from the beginning to the end of the call, and perhaps for some that
 * come or go meanwhile. */
void objects_each(struct objects *objects,
                  void (*visit)(const struct object *object, void *arg), void *arg);

/* For snapshot.c: comment lines, and live values that are at least `min_age_s` old (0: all), into sums[2 * record id]
 * (number) and sums[2 * record id + 1] (bytes); records from n_records on are left out. */
void objects_comment(struct objects *objects, void (*add)(void *arg, const char *line),
                     void *arg);
void objects_sum_by_age(struct objects *objects, uint64_t min_age_s, uint64_t *sums,
                        size_t n_records);

#endif
