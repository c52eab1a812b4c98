/* trie - see trie.h. */
#include "base/trie.h"

#include "base/arena.h"
#include "base/compiler.h"

enum { HASH_BITS = 64 };

/* What a slot holds: 0, an item, or a node with the lowest bit set. */
struct node {
    trie_slot slots[TRIE_FAN_OUT];
};

static bool is_node(uintptr_t value)
{
    return value & 1;
}

static struct node *to_node(uintptr_t value)
{
    return (struct node *)(value - 1);
}

static size_t digit(uint64_t hash, unsigned shift)
{
    return hash >> shift & (TRIE_FAN_OUT - 1);
}

/* A node in which `old` has its place; NULL: no memory. */
static struct node *node_around(struct trie_item *old, unsigned shift)
{
    struct node *node = arena_alloc(sizeof *node);

    if (node)
        store_relaxed(&node->slots[digit(old->hash, shift)], (uintptr_t)old);
    return node;
}

/* From the slot `at`, to which `shift` bits of the hash have led. */
static struct trie_item *intern(trie_slot *at, unsigned shift, const struct trie_key *key,
                                bool *ret_is_new)
{
    struct trie_item *made = NULL;

    if (ret_is_new)
        *ret_is_new = false;
    for (;;) {
        uintptr_t value = load_acquire(at); /* pairs with the CASes below */
        if (is_node(value)) {
            at = &to_node(value)->slots[digit(key->hash, shift)];
            shift += TRIE_FAN_BITS;
            continue;
        }
        struct trie_item *found = (struct trie_item *)value;
        for (struct trie_item *i = found; i && i->hash == key->hash; i = i->older)
            if (key->is_same(i, key))
                return i;
        if (found && found->hash != key->hash && shift < HASH_BITS) {
            struct node *node = node_around(found, shift);
            if (!node)
                return NULL;
            cas_acq_rel(at, &value, (uintptr_t)node + 1); /* lost: look again */
            continue;
        }
        if (!made && !(made = key->make(key)))
            return NULL;
        made->older = found;
        if (cas_acq_rel(at, &value, (uintptr_t)made)) { /* publishes *made */
            if (ret_is_new)
                *ret_is_new = true;
            return made;
        }
    }
}

struct trie_item *trie_intern(struct trie *trie, const struct trie_key *key, bool *ret_is_new)
{
    return intern(&trie->root[key->hash & ((1 << TRIE_ROOT_BITS) - 1)], TRIE_ROOT_BITS, key,
                  ret_is_new);
}

struct trie_item *trie_slot_intern(trie_slot *slot, const struct trie_key *key,
                                   bool *ret_is_new)
{
    return intern(slot, 0, key, ret_is_new);
}
