#include "agent/profile.h"

#include "agent/modules.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static void set_up(void)
{
    arena_set_cap(64 << 20, 0);
    modules_init();
    profile_init();
}

static struct stack *stack_number(uintptr_t i)
{
    const uintptr_t pcs[] = {0x10000 + i * 16, 0x20000};

    return stacktab_intern(pcs, 2, false);
}

TEST_ALONE(a_stack_and_a_tag_have_one_record)
{
    set_up();
    for (uintptr_t i = 0; i < 1000; i++)
        for (uint64_t tag = 0; tag < 3; tag++) {
            struct record *record = record_intern(SOURCE_HEAP, stack_number(i), tag);
            CHECK(record_intern(SOURCE_HEAP, stack_number(i), tag) == record);
            CHECK(record_get(record->id) == record);
            CHECK(record->stack == stack_number(i));
            CHECK_INT(record->tag, tag, "tag");
            CHECK_INT(record->source, SOURCE_HEAP, "source");
        }
    CHECK_INT(records_count(), 3000 + N_SOURCES, "records");
}

TEST_ALONE(the_overflow_has_a_record_from_the_start)
{
    set_up();
    CHECK_INT(records_count(), N_SOURCES, "records");
    struct record *record = record_intern(SOURCE_HEAP, &stack_overflow, 4096);
    CHECK(record_intern(SOURCE_HEAP, &stack_overflow, 16) == record);
    CHECK(record_get(record->id) == record);
    CHECK(record->stack == &stack_overflow);
    CHECK_INT(record->tag, 0, "tag");
    CHECK_INT(records_count(), N_SOURCES, "records");
}

TEST_ALONE(without_memory_it_is_the_record_of_the_overflow)
{
    set_up();
    struct stack *stack = stack_number(1);
    struct record *known = record_intern(SOURCE_HEAP, stack, 16);
    arena_set_cap(0, 0);
    while (arena_alloc(16))
        ;
    struct record *record = record_intern(SOURCE_HEAP, stack, 32);
    CHECK(record->stack == &stack_overflow);
    CHECK(record_intern(SOURCE_HEAP, stack, 16) == known);
    add_relaxed(&record_shard(record)->values[0], 1);
}

TEST_ALONE(numbers_that_were_not_given_out_have_no_record)
{
    set_up();
    CHECK(record_get((uint32_t)records_count()) == NULL);
    CHECK(record_get(UINT32_MAX) == NULL);
}

/* ---- shards ---- */

static void add_up(struct shard *shard, void *arg)
{
    *(uint64_t *)arg += load_relaxed(&shard->values[0]);
}

static void count_shard(struct shard *shard, void *arg)
{
    (void)shard;
    ++*(int *)arg;
}

static struct record *shared;
static struct shard *shard_of[THREADS_MAX];
static pthread_barrier_t all_counted;

static void add_many(int i)
{
    for (int k = 0; k < 10000; k++)
        add_relaxed(&record_shard(shared)->values[0], 1);
    shard_of[i] = record_shard(shared);
    pthread_barrier_wait(&all_counted); /* the dead leave their number to others */
}

TEST_ALONE(no_count_is_lost_whatever_thread_adds_it)
{
    enum { N_THREADS = 8 };
    uint64_t sum = 0;
    int n_shards = 0;

    set_up();
    shared = record_intern(SOURCE_HEAP, stack_number(1), 16);
    pthread_barrier_init(&all_counted, NULL, N_THREADS);
    in_threads(N_THREADS, add_many);
    record_each_shard(shared, add_up, &sum);
    record_each_shard(shared, count_shard, &n_shards);
    CHECK_INT(sum, N_THREADS * 10000, "sum");
    CHECK_AT_MOST(n_shards, THREAD_SHARDS, "shards");
    for (int i = 0; i < N_THREADS; i++) {
        CHECK_INT((uintptr_t)shard_of[i] % 64, 0, "a cache line of its own");
        for (int k = 0; k < i; k++) /* all lived at once, so each has a number of its own */
            CHECK(shard_of[i] != shard_of[k]);
    }
}

TEST_ALONE(without_memory_threads_share_the_first_shard)
{
    uint64_t sum = 0;

    set_up();
    shared = record_intern(SOURCE_HEAP, stack_number(1), 16);
    arena_set_cap(0, 0);
    while (arena_alloc(16))
        ;
    pthread_barrier_init(&all_counted, NULL, 4);
    in_threads(4, add_many);
    record_each_shard(shared, add_up, &sum);
    CHECK_INT(sum, 40000, "sum");
}

enum { N_RECORDS = 5000 };
static struct record *of_thread[4][N_RECORDS];

static void intern_all(int i)
{
    for (uintptr_t k = 0; k < N_RECORDS; k++)
        of_thread[i][k] = record_intern(SOURCE_HEAP, stack_number(k / 50), k % 50);
}

TEST_ALONE(threads_that_intern_the_same_records_get_the_same_ones)
{
    set_up();
    in_threads(4, intern_all);
    for (int i = 1; i < 4; i++)
        CHECK_INT(memcmp(of_thread[0], of_thread[i], sizeof of_thread[0]), 0, "records");
    for (size_t k = 0; k < N_RECORDS; k++)
        CHECK(record_get(of_thread[0][k]->id) == of_thread[0][k]);
}

/* ---- the table ---- */

TEST(profiles_have_distinct_names_and_types_that_the_encoder_takes)
{
    CHECK_AT_LEAST(n_profiles, 3, "profiles");
    for (size_t i = 0; i < n_profiles; i++) {
        const struct profile *profile = &profiles[i];
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(profiles[k].name, profile->name) != 0);
        CHECK_AT_LEAST(profile->n_types, 1, profile->name);
        CHECK_AT_MOST(profile->n_types, PPROF_TYPES_MAX, profile->name);
        CHECK(profile->description && *profile->description);
        bool has_default = !profile->default_type;
        for (size_t t = 0; t < profile->n_types; t++)
            has_default |= profile->default_type &&
                           strcmp(profile->default_type, profile->types[t].type) == 0;
        if (!has_default)
            FAIL("%s: default type %s is none of its types", profile->name,
                 profile->default_type);
    }
    CHECK_STR(profiles[0].name, "heap", "first");
}
