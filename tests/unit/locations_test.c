#include "agent/locations.h"

#include "agent/modules.h"
#include "base/arena.h"
#include "tests/unit/help.h"

TEST_ALONE(a_place_has_one_number_from_1_on)
{
    arena_set_cap(64 << 20, 0);
    for (uint32_t i = 0; i < 10000; i++)
        CHECK_INT(location_intern(0x1000 + i * 4, 3), i + 1, "new");
    for (uint32_t i = 0; i < 10000; i++)
        CHECK_INT(location_intern(0x1000 + i * 4, 3), i + 1, "known");
    CHECK_INT(locations_count(), 10000, "count");
    for (uint32_t i = 0; i < 10000; i++) {
        const struct location *location = location_get(i + 1);
        CHECK_INT(location->id, i + 1, "id");
        CHECK_HEX(location->address, 0x1000 + i * 4, "address");
        CHECK_INT(location->module, 3, "module");
        CHECK(load_relaxed(&location->name) == NULL);
    }
}

TEST_ALONE(the_same_address_in_another_module_is_another_place)
{
    arena_set_cap(1 << 20, 0);
    const uint32_t a = location_intern(0x4000, 1), b = location_intern(0x4000, 2),
                   c = location_intern(0x4000, MODULE_UNKNOWN);
    CHECK(a != b && b != c && a != c);
    CHECK_INT(location_intern(0x4000, 1), a, "first");
    CHECK_INT(location_get(b)->module, 2, "module");
}

TEST_ALONE(numbers_that_were_not_given_out_are_null)
{
    arena_set_cap(1 << 20, 0);
    const uint32_t id = location_intern(0x4000, 1);
    CHECK(location_get(0) == NULL);
    CHECK(location_get(id + 1) == NULL);
    CHECK(location_get(UINT32_MAX) == NULL);
}

TEST_ALONE(without_memory_the_number_is_0_and_known_places_are_found)
{
    arena_set_cap(256 << 10, 0);
    uint32_t n = 0;
    while (location_intern(n + 1, 1))
        n++;
    while (arena_alloc(16))
        ;
    CHECK_AT_LEAST(n, 1000, "places in 256 KiB");
    CHECK_INT(location_intern(n + 5, 1), 0, "no memory");
    for (uint32_t i = 0; i < n; i++)
        CHECK_INT(location_intern(i + 1, 1), i + 1, "known");
}

enum { N_THREADS = 4, N = 20000 };
static uint32_t ids[N_THREADS][N];

static void intern_all(int i)
{
    for (int k = 0; k < N; k++) {
        ids[i][k] = location_intern(0x7f0000000000 + (uintptr_t)k, 1);
        const struct location *location = location_get(ids[i][k]);
        if (!location || location->address != 0x7f0000000000 + (uintptr_t)k)
            FAIL("thread %d: place %d is another", i, k);
    }
}

TEST_ALONE(threads_that_intern_the_same_places_get_the_same_numbers)
{
    arena_set_cap(64 << 20, 0);
    in_threads(N_THREADS, intern_all);
    for (int i = 1; i < N_THREADS; i++)
        CHECK_INT(memcmp(ids[0], ids[i], sizeof ids[0]), 0, "numbers");
}
