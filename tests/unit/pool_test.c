#include "base/pool.h"

#include "base/arena.h"
#include "tests/unit/help.h"

static struct pool pool;
static int items[8];

TEST_ALONE(numbers_are_consecutive_and_lead_to_their_items)
{
    arena_set_cap(64 << 20, 0);
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t id = UINT32_MAX;
        CHECK_INT(pool_number(&pool, &id), true, "number");
        CHECK_INT(id, i, "consecutive");
        CHECK_INT(pool_count(&pool), i + 1, "count");
        CHECK(pool_get(&pool, id) == NULL);
        pool_set(&pool, id, &items[i % 8]);
    }
    for (uint32_t i = 0; i < 5000; i++)
        CHECK(pool_get(&pool, i) == &items[i % 8]);
}

TEST_ALONE(what_was_never_given_out_is_null)
{
    static const uint32_t ids[] = {0, 1023, 1024, POOL_MAX - 1, POOL_MAX, UINT32_MAX};

    arena_set_cap(64 << 20, 0);
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        CHECK(pool_get(&pool, ids[i]) == NULL);
}

TEST_ALONE(without_memory_no_number_is_used_up)
{
    uint32_t id = 7;

    CHECK_INT(pool_number(&pool, &id), false, "no memory");
    CHECK_INT(id, 7, "id");
    CHECK_INT(pool_count(&pool), 0, "count");
    arena_set_cap(1 << 20, 0);
    CHECK_INT(pool_number(&pool, &id), true, "memory again");
    CHECK_INT(id, 0, "id");
}

TEST_ALONE(a_full_pool_refuses_and_keeps_what_it_has)
{
    uint32_t id;

    arena_set_cap(64 << 20, 0);
    for (uint32_t i = 0; i < POOL_MAX; i++)
        if (!pool_number(&pool, &id)) {
            FAIL("refused at %u of %d", i, POOL_MAX);
            return;
        }
    pool_set(&pool, POOL_MAX - 1, &items[3]);
    CHECK_INT(pool_number(&pool, &id), false, "one too many");
    CHECK_INT(pool_count(&pool), POOL_MAX, "count");
    CHECK(pool_get(&pool, POOL_MAX - 1) == &items[3]);
}

enum { N_THREADS = 4, N_EACH = 20000 };
static uint32_t given[N_THREADS][N_EACH];

static void number_many(int i)
{
    for (int k = 0; k < N_EACH; k++) {
        pool_number(&pool, &given[i][k]);
        pool_set(&pool, given[i][k], &given[i][k]);
        if (pool_get(&pool, given[i][k]) != &given[i][k])
            FAIL("thread %d: item %u is another's", i, given[i][k]);
    }
}

TEST_ALONE(threads_get_distinct_numbers)
{
    static bool seen[N_THREADS * N_EACH];

    arena_set_cap(64 << 20, 0);
    in_threads(N_THREADS, number_many);
    CHECK_INT(pool_count(&pool), N_THREADS * N_EACH, "count");
    for (int i = 0; i < N_THREADS; i++)
        for (int k = 0; k < N_EACH; k++) {
            const uint32_t id = given[i][k];
            if (id >= COUNT_OF(seen) || seen[id]) {
                FAIL("number %u twice or too high", id);
                return;
            }
            seen[id] = true;
            CHECK(pool_get(&pool, id) == &given[i][k]);
        }
}
