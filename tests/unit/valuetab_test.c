#include "agent/valuetab.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "base/arena.h"
#include "tests/unit/help.h"

static struct valuetab table;

static void set_up(void)
{
    arena_set_cap((size_t)1 << 30, 0);
    valuetab_init(&table);
}

static int put(uint64_t key, uint64_t weight)
{
    const struct value value = {.key = key, .weight = weight, .record = 7, .born_s = 1000};

    return valuetab_put(&table, &value);
}

static bool take(uint64_t key)
{
    struct value value;

    return valuetab_take(&table, key, &value);
}

struct tally {
    size_t n;
    uint64_t keys, weights;
};

static void count(const struct value *value, void *arg)
{
    struct tally *tally = arg;

    tally->n++;
    tally->keys += value->key;
    tally->weights += value->weight;
}

static struct tally count_all(void)
{
    struct tally tally = {0};

    valuetab_each(&table, count, &tally);
    return tally;
}

TEST_ALONE(a_value_is_put_once_and_taken_once)
{
    struct value got = {0};

    set_up();
    CHECK_INT(take(17), false, "from an empty table");
    CHECK_INT(put(17, 5), 0, "put");
    CHECK_INT(put(17, 6), -EEXIST, "put again");
    CHECK_INT(count_all().n, 1, "values");
    CHECK_INT(count_all().weights, 5, "the first one stays");
    CHECK_INT(valuetab_take(&table, 17, &got), true, "take");
    CHECK_INT(got.key, 17, "key");
    CHECK_INT(got.weight, 5, "weight");
    CHECK_INT(got.record, 7, "record");
    CHECK_INT(got.born_s, 1000, "birth");
    CHECK_INT(take(17), false, "take again");
    CHECK_INT(count_all().n, 0, "values");
    CHECK_INT(put(17, 6), 0, "put after it was taken");
}

/* Among them those that stand exactly where a cell does, and what addresses cannot be. */
TEST_ALONE(any_64_bits_are_a_value)
{
    static const uint64_t keys[] = {0,      1,          2,          UINT64_MAX, UINT64_MAX - 1,
                                    3,      INT64_MAX,  0x80000000, INT64_MIN,  1ull << 47,
                                    0x1001, 0xffffffff, 5,          16,         0x7ffffffffff8};
    uint64_t keys_sum = 0;

    set_up();
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        CHECK_INT(put(keys[i], 1), 0, "put");
        CHECK_INT(put(keys[i], 1), -EEXIST, "put again");
        keys_sum += keys[i];
    }
    CHECK_INT(count_all().n, COUNT_OF(keys), "values");
    CHECK_HEX(count_all().keys, keys_sum, "sum of the keys as they are shown");
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        CHECK_INT(take(keys[i]), true, "take");
    CHECK_INT(count_all().n, 0, "values");
}

TEST_ALONE(puts_and_takes_at_random_are_those_of_a_set)
{
    enum { N_KEYS = 5000, N = 400000 / SCALE };
    static bool is_there[N_KEYS];
    uint64_t random = 3;
    size_t n_there = 0;

    set_up();
    for (int i = 0; i < N; i++) {
        const uint64_t k = next_random(&random) % N_KEYS;
        if (next_random(&random) % 2) {
            const int err = put(k * 24, k);
            if (err != (is_there[k] ? -EEXIST : 0))
                FAIL("step %d: put = %d, it is%s there", i, err, is_there[k] ? "" : " not");
            n_there += !is_there[k];
            is_there[k] = true;
        } else {
            CHECK_INT(take(k * 24), is_there[k], "take");
            n_there -= is_there[k];
            is_there[k] = false;
        }
    }
    CHECK_INT(count_all().n, n_there, "values");
}

TEST_ALONE(a_million_values_take_less_than_48_bytes_each_and_none_is_lost)
{
    enum { N = 1000000 / SCALE };
    uint64_t keys = 0;

    set_up();
    const size_t before = arena_used_bytes();
    for (uint64_t i = 0; i < N; i++) {
        put(0x7f0000000000 + i * 64, 1);
        keys += 0x7f0000000000 + i * 64;
    }
    CHECK_INT(count_all().n, N, "values");
    CHECK_HEX(count_all().keys, keys, "keys");
    CHECK_AT_MOST((double)(arena_used_bytes() - before) / N, 48, "bytes a value");
    for (uint64_t i = 0; i < N; i++)
        if (!take(0x7f0000000000 + i * 64))
            FAIL("value %d is not there", (int)i);
    CHECK_INT(count_all().n, 0, "values");
}

/* A table that was full once, or used a long time, is as small and fast as a new one. */
TEST_ALONE(history_costs_nothing)
{
    enum { N_LIVE = 1000, N = 2000000 / SCALE };

    set_up();
    for (uint64_t i = 0; i < N_LIVE; i++)
        put(i, 1);
    const size_t before = arena_used_bytes();
    for (uint64_t i = 0; i < N; i++) {
        CHECK_INT(put(i + N_LIVE, 1), 0, "put");
        CHECK_INT(take(i), true, "take");
    }
    CHECK_INT(count_all().n, N_LIVE, "values");
    CHECK_AT_MOST(arena_used_bytes() - before, 64 << 10, "bytes more");
}

TEST_ALONE(a_thousand_tables_are_small)
{
    enum { N = 1000 };
    static struct valuetab many[N];

    arena_set_cap((size_t)1 << 30, 0);
    for (int i = 0; i < N; i++) {
        valuetab_init(&many[i]);
        for (uint64_t k = 0; k < 10; k++) {
            const struct value value = {.key = k};
            CHECK_INT(valuetab_put(&many[i], &value), 0, "put");
        }
    }
    CHECK_AT_MOST(sizeof many[0], 400, "a table");
    CHECK_AT_MOST(arena_used_bytes(), N * 10 * 40 + (128 << 10), "bytes of all their values");
}

TEST_ALONE(without_memory_a_value_is_refused_and_the_others_stay)
{
    enum { N = 100000 };
    uint64_t n = 0;

    arena_set_cap(256 << 10, 0);
    valuetab_init(&table);
    while (n < N && put(n, 1) == 0)
        n++;
    CHECK_AT_LEAST(n, 4000, "values that found a place");
    CHECK_INT(put(n, 1), -ENOMEM, "one more");
    CHECK_INT(count_all().n, n, "values");
    CHECK_INT(take(0), true, "take");
    CHECK_INT(put(n, 1), 0, "in the place of another");
}

/* ---- threads ---- */

enum { N_THREADS = 8, N_EACH = 100000 / SCALE };

static void put_and_take(int i)
{
    for (uint64_t k = 0; k < N_EACH; k++) {
        const uint64_t key = k * N_THREADS + (uint64_t)i;
        if (put(key, 1) != 0 || (k >= 100 && !take(key - 100 * N_THREADS)))
            FAIL("thread %d, value %d", i, (int)k);
    }
}

TEST_ALONE(threads_with_values_of_their_own_do_not_disturb_each_other)
{
    set_up();
    in_threads(N_THREADS, put_and_take);
    CHECK_INT(count_all().n, N_THREADS * 100, "values");
}

static _Atomic uint64_t n_put, n_taken;

static void fight(int i)
{
    uint64_t random = (uint64_t)i;

    for (int k = 0; k < N_EACH; k++) {
        const uint64_t key = next_random(&random) % 64;
        if (next_random(&random) % 2)
            add_relaxed(&n_put, put(key, 1) == 0);
        else
            add_relaxed(&n_taken, take(key));
    }
}

TEST_ALONE(of_many_threads_one_puts_and_one_takes)
{
    set_up();
    in_threads(N_THREADS, fight);
    CHECK_INT(count_all().n, load_relaxed(&n_put) - load_relaxed(&n_taken), "values");
    CHECK_AT_LEAST(load_relaxed(&n_taken), N_EACH / 100, "taken");
}

enum { N_STAYING = 3000 };
static _Atomic int n_at_work;

static void count_or_churn(int i)
{
    if (i > 0) {
        put_and_take(i);
        sub_relaxed(&n_at_work, 1);
        return;
    }
    do {
        const struct tally tally = count_all();
        CHECK_AT_LEAST(tally.n, N_STAYING, "values seen while others come and go");
        CHECK_AT_MOST(tally.n, N_STAYING + N_THREADS * 101 + N_EACH, "values seen");
    } while (load_relaxed(&n_at_work));
}

TEST_ALONE(a_walk_sees_all_that_stays)
{
    set_up();
    for (uint64_t i = 0; i < N_STAYING; i++)
        put((1ull << 40) + i, 1);
    store_relaxed(&n_at_work, N_THREADS - 1);
    in_threads(N_THREADS, count_or_churn);
    CHECK_INT(count_all().n, N_STAYING + (N_THREADS - 1) * 100, "values at the end");
}

/* ---- signals ---- */

static _Atomic uint64_t n_handled;

static void on_alarm(int sig)
{
    const uint64_t key = (1ull << 50) + load_relaxed(&n_handled);

    (void)sig;
    if (put(key, 1) == 0 && (key % 2 || take(key)))
        add_relaxed(&n_handled, 1);
}

TEST_ALONE(a_handler_inside_another_operation_works)
{
    const struct itimerval often =
                               {
                                   {0, 100},
                                   {0, 100}
    },
                           never = {{0, 0}, {0, 0}};
    uint64_t n = 0;

    set_up();
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (; load_relaxed(&n_handled) < 500; n++)
        if (put(n, 1) != 0 || !take(n))
            FAIL("value %d", (int)n);
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK_INT(count_all().n, load_relaxed(&n_handled) / 2, "what the handlers left");
}
