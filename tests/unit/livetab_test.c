#include "agent/livetab.h"

#include <signal.h>
#include <sys/time.h>

#include "base/arena.h"
#include "tests/unit/help.h"

static struct livetab table;

static void set_up(void)
{
    arena_set_cap((size_t)1 << 30, 0);
}

/* As malloc gives them out: 16 bytes and more apart. */
static uintptr_t address_of(uint64_t i)
{
    return 0x5550000000 + i * 48;
}

static enum livetab_put put(uintptr_t address, uint64_t value)
{
    uint64_t old;

    return livetab_put(&table, address, value, 1000, &old);
}

static bool holds(uintptr_t address, uint64_t value)
{
    uint64_t got = 0;
    const bool found = livetab_take(&table, address, &got);

    if (found)
        put(address, got);
    return found && got == value;
}

struct tally {
    size_t n;
    uint64_t values, addresses, age_s;
};

static void count(const struct live *live, void *arg)
{
    struct tally *tally = arg;

    tally->n++;
    tally->values += live->value;
    tally->addresses += live->address;
    tally->age_s = live->age_s;
}

static struct tally count_all(uint64_t now_s)
{
    struct tally tally = {0};

    livetab_each(&table, now_s, count, &tally);
    return tally;
}

static uint64_t n_slots(void)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < load_relaxed(&table.n_levels); i++)
        n += 8ull * load_relaxed(&table.levels[i].n_buckets);
    return n;
}

TEST_ALONE(what_was_put_is_taken_once)
{
    uint64_t value = 0;

    set_up();
    CHECK_INT(livetab_take(&table, 0x1000, &value) != 0, false, "empty table");
    CHECK_INT(put(0x1000, 17), LIVETAB_NEW, "put");
    CHECK_INT(livetab_take(&table, 0x1008, &value) != 0, false, "its neighbour");
    CHECK_INT(livetab_take(&table, 0x1000, &value) != 0, true, "take");
    CHECK_INT(value, 17, "value");
    CHECK_INT(livetab_take(&table, 0x1000, &value) != 0, false, "take again");
}

TEST_ALONE(the_same_address_once_more_replaces_and_returns_the_old_value)
{
    uint64_t old = 0, value;

    set_up();
    put(0x1000, 17);
    CHECK_INT(livetab_put(&table, 0x1000, 18, 2000, &old), LIVETAB_REPLACED, "put");
    CHECK_INT(old, 17, "old value");
    CHECK_INT(count_all(2000).n, 1, "objects");
    CHECK_INT(count_all(2000).age_s, 0, "it is born anew");
    CHECK(livetab_take(&table, 0x1000, &value) && value == 18);
    CHECK_INT(livetab_take(&table, 0x1000, &value) != 0, false, "take again");
}

static void put_again_at_random(void)
{
    enum { N_ADDRESSES = 4000, N = 300000 };
    static bool is_live[N_ADDRESSES];
    uint64_t random = 3, old, value;
    size_t n_live = 0;

    set_up();
    for (int i = 0; i < N; i++) {
        const uint64_t k = next_random(&random) % N_ADDRESSES;
        if (next_random(&random) % 2) {
            const enum livetab_put got =
                livetab_replace(&table, address_of(k), k, 1000, &old)
                    ? LIVETAB_REPLACED
                    : livetab_put(&table, address_of(k), k, 1000, &old);
            if (got != (is_live[k] ? LIVETAB_REPLACED : LIVETAB_NEW))
                FAIL("step %d: %s address: put = %d", i, is_live[k] ? "a live" : "a new", got);
            n_live += !is_live[k];
            is_live[k] = true;
        } else {
            CHECK_INT(livetab_take(&table, address_of(k), &value) != 0, is_live[k], "take");
            n_live -= is_live[k];
            is_live[k] = false;
        }
    }
    CHECK_INT(count_all(1000).n, n_live, "objects");
}

TEST(an_address_given_out_again_is_replaced_whatever_came_and_went_meanwhile)
{
    in_child(put_again_at_random);
}

TEST_ALONE(addresses_that_malloc_cannot_give_are_odd)
{
    static const uintptr_t odd[] = {0,
                                    1,
                                    4,
                                    7,
                                    0x1001,
                                    0x100c,
                                    (uintptr_t)1 << LIVETAB_ADDRESS_BITS,
                                    ((uintptr_t)1 << LIVETAB_ADDRESS_BITS) + 16,
                                    UINTPTR_MAX,
                                    UINTPTR_MAX - 7};
    static const uintptr_t even[] = {8, 16, ((uintptr_t)1 << LIVETAB_ADDRESS_BITS) - 8,
                                     (uintptr_t)1 << (LIVETAB_ADDRESS_BITS - 1)};
    uint64_t value;

    set_up();
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        CHECK_INT(put(odd[i], 1), LIVETAB_ODD, "put");
        CHECK_INT(livetab_take(&table, odd[i], &value) != 0, false, "take");
    }
    for (size_t i = 0; i < COUNT_OF(even); i++)
        CHECK_INT(put(even[i], i), LIVETAB_NEW, "put");
    for (size_t i = 0; i < COUNT_OF(even); i++)
        CHECK(livetab_take(&table, even[i], &value) && value == i);
    CHECK_INT(count_all(1000).n, 0, "objects");
}

TEST_ALONE(every_value_and_address_comes_back)
{
    enum { N = 300000 };
    uint64_t random = 1, addresses = 0, values = 0;

    set_up();
    for (uint64_t i = 0; i < N; i++) {
        const uint64_t value = next_random(&random);
        CHECK_INT(put(address_of(i), value), LIVETAB_NEW, "put");
        addresses += address_of(i);
        values += value;
    }
    const struct tally all = count_all(1000);
    CHECK_INT(all.n, N, "objects");
    CHECK_HEX(all.values, values, "sum of values");
    CHECK_HEX(all.addresses, addresses, "sum of addresses");
    random = 1;
    for (uint64_t i = 0; i < N; i++) {
        const uint64_t value = next_random(&random);
        uint64_t got = 0;
        if (!livetab_take(&table, address_of(i), &got) || got != value)
            FAIL("object %" PRIu64 ": %" PRIx64 ", want %" PRIx64, i, got, value);
    }
    CHECK_INT(count_all(1000).n, 0, "objects");
}

TEST_ALONE(a_full_table_says_so_and_serves_what_it_has)
{
    uint64_t value;
    size_t n = 0;

    arena_set_cap(1 << 20, 0);
    while (put(address_of(n), n) == LIVETAB_NEW)
        n++;
    CHECK_AT_LEAST(n, (1 << 20) / 32, "objects in 1 MiB");
    CHECK_INT(put(address_of(n), n), LIVETAB_FULL, "one too many");
    for (size_t i = 0; i < n; i++)
        if (!holds(address_of(i), i))
            FAIL("object %zu is not there", i);
    CHECK(livetab_take(&table, address_of(0), &value));
    CHECK_INT(put(address_of(0), 7), LIVETAB_NEW, "where one was taken out");
    for (size_t i = 0; i < n; i++)
        livetab_take(&table, address_of(i), &value);
    CHECK_INT(count_all(1000).n, 0, "objects");
}

TEST_ALONE(without_any_memory_everything_is_refused)
{
    uint64_t value;

    arena_set_cap(0, 0);
    CHECK_INT(put(0x1000, 1), LIVETAB_FULL, "put");
    CHECK_INT(livetab_take(&table, 0x1000, &value) != 0, false, "take");
    CHECK_INT(count_all(1000).n, 0, "objects");
}

/* ---- cost ---- */

TEST_ALONE(ten_million_puts_and_takes_leave_nothing_behind)
{
    enum { N_LIVE = 1000, N = 10000000 / SCALE };
    uint64_t value, random = 2;

    set_up();
    for (uint64_t i = 0; i < N_LIVE; i++)
        put(address_of(i), i);
    const uint32_t levels = load_relaxed(&table.n_levels);
    const uint64_t slots = n_slots();
    const size_t used_bytes = arena_used_bytes();
    for (uint64_t i = N_LIVE; i < N;
         i++) { /* addresses come and go, N_LIVE of them at a time */
        if (!livetab_take(&table, address_of(i - N_LIVE), &value))
            FAIL("object %" PRIu64 " is not there", i - N_LIVE);
        put(address_of(i), i);
    }
    for (uint64_t i = 0; i < N / 10; i++) { /* and any one of the live ones, again and again */
        const uintptr_t address = address_of(N - N_LIVE + next_random(&random) % N_LIVE);
        if (!livetab_take(&table, address, &value) || put(address, value) != LIVETAB_NEW)
            FAIL("address %" PRIxPTR " is not there", address);
    }
    /* A hit and a miss look at two buckets per level and at nothing else. */
    CHECK_AT_MOST(load_relaxed(&table.n_levels), levels + 1, "levels");
    CHECK_AT_MOST(n_slots(), slots * 1.5, "slots");
    CHECK_AT_MOST(arena_used_bytes(), used_bytes + slots * 0.5 * 16 + 4096, "memory");
    CHECK_INT(count_all(1000).n, N_LIVE, "objects");
    for (uint64_t i = N - N_LIVE; i < N; i++)
        livetab_take(&table, address_of(i), &value);
    for (uint32_t level = 0; level < load_relaxed(&table.n_levels); level++) {
        const uint64_t *words = (const uint64_t *)load_relaxed(&table.levels[level].slots);
        for (uint64_t slot = 0; slot < 8ull * load_relaxed(&table.levels[level].n_buckets);
             slot++)
            if (words[2 * slot] != 0)
                FAIL("level %u: slot %" PRIu64 " is not free", level, slot);
    }
}

/* A program with few samples does not pay for pages that it hardly uses. */
TEST_ALONE(a_hundred_live_objects_take_two_pages)
{
    set_up();
    const size_t before = arena_used_bytes();
    for (uint64_t i = 1; i <= 100; i++)
        CHECK_INT(put(address_of(i), i), LIVETAB_NEW, "put");
    CHECK_AT_MOST(arena_used_bytes() - before, 8192, "bytes");
}

/* Growth is by a half, so the worst moment is just after it. */
TEST_ALONE(a_live_object_costs_at_most_32_bytes_from_ten_thousand_on)
{
    enum { N = 1000000 };
    double worst = 0;

    set_up();
    for (uint64_t i = 1; i <= N; i++) {
        put(address_of(i), i);
        const double each = (double)arena_used_bytes() / (double)i;
        if (i >= 10000 && each > worst)
            worst = each;
        if (i == 10000 || i == 100000 || i == N)
            CHECK_AT_MOST(each, 32, "bytes per live object");
    }
    CHECK_AT_MOST(worst, 32, "at the worst moment");
    CHECK_AT_MOST(load_relaxed(&table.n_levels), 24, "levels");
}

/* Other spacings must not be worse: large blocks, pages, arenas of 64 MiB. */
TEST_ALONE(the_spacing_of_addresses_does_not_matter)
{
    static const uint64_t spacings[] = {8, 16, 4096, 65536, 1 << 20, (1 << 20) + 16};
    enum { N = 50000 };

    set_up();
    for (size_t s = 0; s < COUNT_OF(spacings); s++) {
        memset(&table, 0, sizeof table);
        const size_t before = arena_used_bytes();
        for (uint64_t i = 0; i < N; i++)
            put(0x10000000 + i * spacings[s], i);
        const double each = (double)(arena_used_bytes() - before) / N;
        if (each > 32)
            FAIL("%" PRIu64 " bytes apart: %g bytes each", spacings[s], each);
    }
}

/* ---- ages ---- */

enum { BIRTHS = (1 << LIVETAB_BIRTH_BITS) - 1 };

TEST_ALONE(ages_are_exact_up_to_the_horizon_and_older_is_older)
{
    static const uint64_t starts[] = {
        0, 1, 1000, BIRTHS - 1, BIRTHS, BIRTHS + 1, 10ull * BIRTHS + 77};
    static const uint64_t ages[] = {0, 1, 59, 60, 3600, 86400, LIVETAB_HORIZON_S - 1};
    uint64_t old, value;

    set_up();
    for (size_t s = 0; s < COUNT_OF(starts); s++)
        for (size_t a = 0; a < COUNT_OF(ages); a++) {
            livetab_put(&table, 0x1000, 1, starts[s], &old);
            CHECK_INT(count_all(starts[s] + ages[a]).age_s, ages[a], "age");
            livetab_take(&table, 0x1000, &value);
        }
}

TEST_ALONE(a_swept_object_stays_older_for_ever)
{
    const uint64_t born_s = 5000;
    uint64_t old, value;

    set_up();
    livetab_put(&table, 0x1000, 42, born_s, &old);
    /* Half a year, looking now and then, over several wraps of the 20 bits. */
    for (uint64_t age_s = 0; age_s < 14 * (uint64_t)BIRTHS; age_s += 30011) {
        livetab_sweep(&table, born_s + age_s);
        const struct tally all = count_all(born_s + age_s);
        CHECK_INT(all.n, 1, "objects");
        if (age_s < LIVETAB_HORIZON_S)
            CHECK_INT(all.age_s, age_s, "age");
        else
            CHECK_AT_LEAST(all.age_s, LIVETAB_HORIZON_S, "age");
    }
    CHECK(livetab_take(&table, 0x1000, &value) && value == 42);
    CHECK_INT(count_all(born_s).n, 0, "objects");
}

TEST_ALONE(an_object_born_a_tick_after_the_look_has_age_0)
{
    uint64_t old;

    set_up();
    livetab_put(&table, 0x1000, 1, 1001, &old);
    CHECK_INT(count_all(1000).age_s, 0, "age");
}

/* ---- many at once ---- */

enum { N_THREADS = 4, N_EACH = 200000 / SCALE, ROUNDS = 3 };

static void put_and_take_own(int i)
{
    uint64_t value;

    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t k = 0; k < N_EACH; k++)
            if (put(address_of(k * N_THREADS + (unsigned)i), k) != LIVETAB_NEW)
                FAIL("thread %d: object %" PRIu64 " was there", i, k);
        for (uint64_t k = 0; k < N_EACH; k++)
            if (!livetab_take(&table, address_of(k * N_THREADS + (unsigned)i), &value) ||
                value != k)
                FAIL("thread %d: object %" PRIu64 " is not there", i, k);
    }
}

TEST_ALONE(threads_with_objects_of_their_own_end_with_an_empty_table)
{
    set_up();
    in_threads(N_THREADS, put_and_take_own);
    CHECK_INT(count_all(1000).n, 0, "objects");
}

/* A ring: thread i puts, thread i + 1 takes, as with a queue of buffers. */
enum { RING = 64 };
static _Atomic uintptr_t rings[N_THREADS][RING];

static void hand_over(int i)
{
    uint64_t value;
    uint64_t n_put = 0, n_taken = 0;

    while (n_put < N_EACH || n_taken < N_EACH) {
        _Atomic uintptr_t *to = &rings[i][n_put % RING];
        if (n_put < N_EACH && load_acquire(to) == 0) {
            const uintptr_t address = address_of(n_put * N_THREADS + (unsigned)i);
            put(address, address + 1);
            store_release(to, address);
            n_put++;
        }
        _Atomic uintptr_t *from = &rings[(i + 1) % N_THREADS][n_taken % RING];
        const uintptr_t address = n_taken < N_EACH ? load_acquire(from) : 0;
        if (address) {
            if (!livetab_take(&table, address, &value) || value != address + 1)
                FAIL("thread %d: %" PRIxPTR " is not there", i, address);
            store_release(from, 0);
            n_taken++;
        }
    }
}

TEST_ALONE(objects_handed_over_between_threads_are_found)
{
    set_up();
    in_threads(N_THREADS, hand_over);
    CHECK_INT(count_all(1000).n, 0, "objects");
}

static _Atomic int n_working;

static void look_and_sweep(void)
{
    for (uint64_t now_s = 1000; load_acquire(&n_working); now_s += LIVETAB_HORIZON_S / 2) {
        livetab_sweep(&table, now_s);
        count_all(now_s);
    }
}

static void put_and_take_or_look(int i)
{
    if (i == N_THREADS - 1) {
        look_and_sweep();
        return;
    }
    put_and_take_own(i);
    sub_relaxed(&n_working, 1);
}

TEST_ALONE(a_sweep_and_a_walk_beside_puts_and_takes_lose_nothing)
{
    set_up();
    store_relaxed(&n_working, N_THREADS - 1);
    in_threads(N_THREADS, put_and_take_or_look);
    CHECK_INT(count_all(1000).n, 0, "objects");
}

/* ---- handlers ---- */

static volatile sig_atomic_t n_signals;
static volatile uint64_t n_handler_failures;

/* Puts some, takes some of what earlier signals left. */
static void put_in_handler(int number)
{
    uint64_t value;

    (void)number;
    const uint64_t n = (uint64_t)n_signals++;
    for (uint64_t k = 0; k < 8; k++)
        if (put(0x7000000000 + (n * 8 + k) * 16, n) != LIVETAB_NEW)
            n_handler_failures++;
    for (uint64_t k = 0; n >= 4 && k < 8; k++)
        if (!livetab_take(&table, 0x7000000000 + ((n - 4) * 8 + k) * 16, &value) ||
            value != n - 4)
            n_handler_failures++;
}

TEST_ALONE(handlers_that_interrupt_put_and_take_leave_the_table_consistent)
{
    enum { WANT_SIGNALS = 300, N = 512, ROUNDS_MAX = 200000 };
    const struct itimerval often =
                               {
                                   {0, 100},
                                   {0, 100}
    },
                           never = {{0, 0}, {0, 0}};
    const struct sigaction action = {.sa_handler = put_in_handler, .sa_flags = SA_RESTART};
    uint64_t value;

    set_up();
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int round = 0; round < ROUNDS_MAX && n_signals < WANT_SIGNALS; round++) {
        for (uint64_t i = 0; i < N; i++)
            if (put(address_of(i), i) != LIVETAB_NEW)
                FAIL("object %" PRIu64 " was there", i);
        for (uint64_t i = 0; i < N; i++)
            if (!livetab_take(&table, address_of(i), &value) || value != i)
                FAIL("object %" PRIu64 " is not there", i);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK_AT_LEAST(n_signals, WANT_SIGNALS, "signals");
    CHECK_INT(n_handler_failures, 0, "failures in the handler");
    CHECK_INT(count_all(1000).n, 4 * 8, "objects that the last four signals left");
}
