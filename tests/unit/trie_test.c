#include "base/trie.h"

#include "base/arena.h"
#include "tests/unit/help.h"

struct word {
    struct trie_item item;
    uint64_t value;
};
struct word_key {
    struct trie_key key;
    uint64_t value;
};

static _Atomic size_t n_made;

static bool is_same(struct trie_item *item, const struct trie_key *key)
{
    return ((struct word *)item)->value == ((const struct word_key *)(const void *)key)->value;
}

static struct trie_item *make(const struct trie_key *key)
{
    struct word *word = arena_alloc(sizeof *word);

    if (!word)
        return NULL;
    word->item.hash = key->hash;
    word->value = ((const struct word_key *)(const void *)key)->value;
    add_relaxed(&n_made, 1);
    return &word->item;
}

static struct trie trie;

static struct word *intern(uint64_t hash, uint64_t value, bool *ret_is_new)
{
    const struct word_key key = {
        {hash, is_same, make},
        value
    };

    return (struct word *)trie_intern(&trie, &key.key, ret_is_new);
}

static uint64_t spread(uint64_t i)
{
    return next_random(&i);
}

TEST_ALONE(the_same_key_gives_the_same_item_and_is_new_once)
{
    enum { N = 100000 };
    static struct word *words[N];
    bool is_new;

    arena_set_cap(256 << 20, 0);
    for (uint64_t i = 0; i < N; i++) {
        words[i] = intern(spread(i), i, &is_new);
        CHECK_INT(is_new, true, "first time");
    }
    for (uint64_t i = 0; i < N; i++) {
        CHECK(intern(spread(i), i, &is_new) == words[i]);
        CHECK_INT(is_new, false, "second time");
        CHECK(intern(spread(i), i, NULL) == words[i]);
    }
    CHECK_INT(load_relaxed(&n_made), N, "items made");
}

TEST_ALONE(hashes_that_differ_in_any_one_bit_lead_to_different_items)
{
    static struct word *words[65];

    arena_set_cap(1 << 20, 0);
    words[64] = intern(0, 64, NULL);
    for (unsigned bit = 0; bit < 64; bit++)
        words[bit] = intern((uint64_t)1 << bit, bit, NULL);
    CHECK(intern(0, 64, NULL) == words[64]);
    for (unsigned bit = 0; bit < 64; bit++) {
        CHECK(intern((uint64_t)1 << bit, bit, NULL) == words[bit]);
        CHECK_INT(words[bit]->value, bit, "value");
    }
}

TEST_ALONE(items_with_the_same_hash_are_all_found)
{
    struct word *words[5];

    arena_set_cap(1 << 20, 0);
    for (uint64_t i = 0; i < 5; i++)
        words[i] = intern(4711, i, NULL);
    struct word *other = intern(4711 + (1ull << 63), 3, NULL);
    for (uint64_t i = 0; i < 5; i++) {
        bool is_new;
        CHECK(intern(4711, i, &is_new) == words[i]);
        CHECK_INT(is_new, false, "is_new");
        CHECK_INT(words[i]->value, i, "value");
    }
    CHECK(intern(4711 + (1ull << 63), 3, NULL) == other && other != words[3]);
}

TEST_ALONE(without_memory_there_is_no_new_item_and_the_old_ones_are_found)
{
    enum { N = 20000 };
    static struct word *words[N];
    size_t n = 0;
    bool is_new = true;

    arena_set_cap(256 << 10, 0);
    while (n < N && (words[n] = intern(spread(n), n, NULL)))
        n++;
    CHECK_AT_LEAST(n, 1000, "items in 256 KiB");
    CHECK_AT_MOST(n, N - 1, "items in 256 KiB");
    while (arena_alloc(16))
        ; /* a node found no room, an item may still */
    for (size_t i = 0; i < n; i++)
        CHECK(intern(spread(i), i, NULL) == words[i]);
    CHECK(intern(spread(N), N, &is_new) == NULL);
    CHECK_INT(is_new, false, "is_new");
    arena_set_cap(1 << 20, 0);
    CHECK(intern(spread(N), N, NULL) != NULL);
}

enum { N_THREADS = 4, N_WORDS = 20000 };
static struct word *of_thread[N_THREADS][N_WORDS];
static _Atomic size_t n_new;

/* Few distinct low bits, so that paths are long and the same places are fought for; every tenth
 * hash serves ten words. */
static uint64_t crowded(uint64_t i)
{
    return spread(i % 10 ? i : i / 100) << 20 | i % 3 * (i % 10 != 0);
}

static void intern_all(int i)
{
    for (uint64_t k = 0; k < N_WORDS; k++) {
        bool is_new;
        of_thread[i][k] = intern(crowded(k), k, &is_new);
        if (is_new)
            add_relaxed(&n_new, 1);
    }
}

TEST_ALONE(threads_that_intern_the_same_words_get_the_same_items)
{
    arena_set_cap(256 << 20, 0);
    in_threads(N_THREADS, intern_all);
    CHECK_INT(load_relaxed(&n_new), N_WORDS, "published");
    for (int k = 0; k < N_WORDS; k++)
        for (int i = 0; i < N_THREADS; i++)
            if (!of_thread[i][k] || of_thread[i][k] != of_thread[0][k] ||
                of_thread[i][k]->value != (uint64_t)k) {
                FAIL("word %d of thread %d is another item", k, i);
                return;
            }
}
