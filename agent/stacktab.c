/* stacktab - see stacktab.h. */
#include "agent/stacktab.h"

#include <string.h>

#include "agent/locations.h"
#include "agent/modules.h"
#include "base/arena.h"
#include "base/compiler.h"

static struct trie trie LARGE;
static _Atomic size_t n_stacks;

struct stack stack_overflow, stack_wakeup, stack_inherited, stack_untracked;

struct stack_key {
    struct trie_key key;
    const uintptr_t *pcs;
    size_t n;
    bool truncated;
};

/* Two lanes of multiply and fold, so that the multiplications of neighbours overlap. */
static uint64_t hash_frames(const uintptr_t *pcs, size_t n, bool truncated)
{
    const uint64_t K1 = 0x9e3779b97f4a7c15, K2 = 0xc2b2ae3d27d4eb4f;
    uint64_t a = n * 2 + truncated, b = ~a;
    size_t i = 0;

    for (; i + 1 < n; i += 2) {
        a = (a ^ pcs[i]) * K1;
        b = (b ^ pcs[i + 1]) * K2;
        a ^= a >> 29;
        b ^= b >> 32;
    }
    if (i < n)
        a = (a ^ pcs[i]) * K1;
    a = (a ^ (b << 1 | b >> 63)) * K2;
    return a ^ a >> 31;
}

static uint16_t module_at(uintptr_t address)
{
    const struct module *module = modules_find(address);

    return module && module->n_ranges ? module->id : MODULE_UNKNOWN;
}

/* All frames still lie in the modules in which they lay when the stack was built. */
static COLD bool revalidate(struct stack *stack)
{
    const uint32_t now = modules_epoch();

    for (size_t i = 0; i < stack->n_frames; i++)
        if (module_at(stack->pcs[i] - 1) != location_get(stack->locations[i])->module)
            return false;
    store_relaxed(&stack->epoch, now);
    return true;
}

static bool is_same(struct trie_item *item, const struct trie_key *key)
{
    struct stack *stack = (struct stack *)item;
    const struct stack_key *wanted = (const void *)key;

    return stack->n_frames == wanted->n && stack->truncated == wanted->truncated &&
           memcmp(stack->pcs, wanted->pcs, wanted->n * sizeof *wanted->pcs) == 0 &&
           (likely(load_relaxed(&stack->epoch) == modules_epoch()) || revalidate(stack));
}

static struct trie_item *make(const struct trie_key *key)
{
    const struct stack_key *wanted = (const void *)key;
    const size_t n = wanted->n;
    struct stack *stack =
        arena_alloc(sizeof *stack + n * (sizeof *stack->pcs + sizeof(uint32_t)));

    if (!stack)
        return NULL;
    store_relaxed(&stack->epoch, modules_epoch());
    memcpy(stack->pcs, wanted->pcs, n * sizeof *wanted->pcs);
    uint32_t *locations = (uint32_t *)(stack->pcs + n);
    for (size_t i = 0; i < n; i++) {
        const uintptr_t address = wanted->pcs[i] - 1; /* inside the call: unwind.h */
        locations[i] = location_intern(address, module_at(address));
        if (!locations[i])
            return NULL;
    }
    stack->item.hash = key->hash;
    stack->n_frames = (uint16_t)n;
    stack->truncated = wanted->truncated;
    stack->locations = locations;
    return &stack->item;
}

struct stack *stacktab_intern(const uintptr_t *pcs, size_t n, bool truncated)
{
    const struct stack_key key = {
        .key = {.hash = hash_frames(pcs, n, truncated), .is_same = is_same, .make = make},
        .pcs = pcs,
        .n = n,
        .truncated = truncated,
    };
    bool is_new;
    struct trie_item *item = trie_intern(&trie, &key.key, &is_new);

    if (!item)
        return &stack_overflow;
    if (is_new)
        add_relaxed(&n_stacks, 1);
    return (struct stack *)item;
}

uint32_t stacktab_locate(uintptr_t address)
{
    return location_intern(address, module_at(address));
}

size_t stacktab_count(void)
{
    return load_relaxed(&n_stacks);
}
