/* locations - see locations.h. */
#include "agent/locations.h"

#include "base/arena.h"
#include "base/compiler.h"
#include "base/pool.h"

static struct trie trie LARGE;
static struct pool pool LARGE; /* by number - 1 */

struct location_key {
    struct trie_key key;
    uintptr_t address;
    uint16_t module;
};

static bool is_same(struct trie_item *item, const struct trie_key *key)
{
    const struct location *location = (const void *)item;
    const struct location_key *wanted = (const void *)key;

    return location->address == wanted->address && location->module == wanted->module;
}

static struct trie_item *make(const struct trie_key *key)
{
    const struct location_key *wanted = (const void *)key;
    struct location *location = arena_alloc(sizeof *location);
    uint32_t number;

    if (!location || !pool_number(&pool, &number))
        return NULL;
    location->item.hash = key->hash;
    location->address = wanted->address;
    location->module = wanted->module;
    location->id = number + 1;
    pool_set(&pool, number, location);
    return &location->item;
}

static uint64_t hash_of(uintptr_t address, uint16_t module)
{
    uint64_t x = (address ^ (uint64_t)module << 48) * 0x9e3779b97f4a7c15;

    x = (x ^ x >> 32) * 0xbf58476d1ce4e5b9;
    return x ^ x >> 29;
}

uint32_t location_intern(uintptr_t address, uint16_t module)
{
    const struct location_key key = {
        .key = {.hash = hash_of(address, module), .is_same = is_same, .make = make},
        .address = address,
        .module = module,
    };
    const struct location *location = (const void *)trie_intern(&trie, &key.key, NULL);

    return location ? location->id : 0;
}

struct location *location_get(uint32_t id)
{
    return id ? pool_get(&pool, id - 1) : NULL;
}

uint32_t locations_count(void)
{
    return pool_count(&pool);
}
