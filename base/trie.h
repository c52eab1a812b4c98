/* trie - a lock-free set of items that are added and never removed.
 *
 * 16-way nodes over 64 bits of hash; a leaf points to an item, whose first member is its hash.  Items
 * are complete before they are published with one CAS and are never moved or freed, so readers need
 * no lock and a pointer is a name for life.  Items with all 64 bits alike form a list, newest first.
 *
 * Memory from the arena.  Any thread, signal-safe. */
#ifndef CPROF_BASE_TRIE_H
#define CPROF_BASE_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

enum { TRIE_ROOT_BITS = 8, TRIE_FAN_BITS = 4, TRIE_FAN_OUT = 1 << TRIE_FAN_BITS };

/* A place for nothing, an item, or a node with places of its own: a trie of one place is a trie too,
 * and the smallest one for a set that mostly has one item. */
typedef _Atomic uintptr_t trie_slot;

struct trie_item {
    uint64_t hash;
    struct trie_item *older; /* with the same hash; set by the trie */
};

struct trie {
    trie_slot root[1 << TRIE_ROOT_BITS];
};

/* What the caller knows of the items. */
struct trie_key {
    uint64_t hash;
    bool (*is_same)(struct trie_item *item, const struct trie_key *key);
    /* A new item for the key, with its hash filled in; NULL: no memory. */
    struct trie_item *(*make)(const struct trie_key *key);
};

/* The item that is the same as the key, made when there is none.  NULL: no memory.
 * *ret_is_new (may be NULL): this call published it. */
struct trie_item *trie_intern(struct trie *trie, const struct trie_key *key, bool *ret_is_new);
/* The same in a trie of one place. */
struct trie_item *trie_slot_intern(trie_slot *slot, const struct trie_key *key,
                                   bool *ret_is_new);

#endif
