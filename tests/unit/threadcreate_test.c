#include "agent/threadcreate.h"

#include <errno.h>

#include "agent/modules.h"
#include "agent/process.h"
#include "agent/profile.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static void set_up(void)
{
    arena_set_cap((size_t)1 << 28, 0);
    process_init();
    modules_init();
    profile_init();
    threadcreate_set_on(true);
}

static void *function_of(uintptr_t i)
{
    return (void *)(0x1000 + i);
}
static struct threadcreate_entry entry_number(uintptr_t i)
{
    return (struct threadcreate_entry){(void *(*)(void *))(uintptr_t)function_of(i), (void *)i};
}

static void check_entry(struct threadcreate_entry entry, uintptr_t i)
{
    CHECK((uintptr_t)entry.function == (uintptr_t)function_of(i));
    CHECK((uintptr_t)entry.arg == i);
}

static uint32_t put(uintptr_t i)
{
    return threadcreate_prepare(entry_number(i)).block;
}

TEST_ALONE(a_block_gives_back_what_was_put_into_it)
{
    enum { N = 1000 };
    uint32_t blocks[N];

    set_up();
    for (uintptr_t i = 0; i < N; i++)
        CHECK((blocks[i] = put(i)) != 0);
    for (uintptr_t i = N; i-- > 0;)
        check_entry(threadcreate_begin(blocks[i]), i);
}

TEST_ALONE(blocks_are_used_again)
{
    set_up();
    const uint32_t first = put(1);
    threadcreate_begin(first);
    for (int i = 0; i < 100000; i++) {
        const struct threadcreate creation = threadcreate_prepare(entry_number(1));
        CHECK_INT(creation.block, first, "block");
        if (i % 2)
            check_entry(threadcreate_begin(creation.block), 1);
        threadcreate_end(creation, i % 2);
    }
}

TEST_ALONE(without_memory_or_when_off_there_is_none)
{
    set_up();
    threadcreate_set_on(false);
    CHECK_INT(put(1), 0, "off");
    threadcreate_set_on(true);
    arena_set_cap(0, 0);
    while (arena_alloc(16))
        ;
    CHECK_INT(put(1), 0, "no memory");
}

static void put_and_take(int t)
{
    for (uintptr_t i = 0; i < 20000 / SCALE; i++) {
        const uintptr_t a = i % 16 * 64 + (uintptr_t)t, b = a + 32;
        const uint32_t block_a = put(a), block_b = put(b);
        CHECK(block_a && block_b && block_a != block_b);
        check_entry(threadcreate_begin(block_a), a);
        check_entry(threadcreate_begin(block_b), b);
    }
}

TEST_ALONE(threads_never_share_a_block)
{
    set_up();
    in_threads(8, put_and_take);
}

static int64_t all_counted(void)
{
    int64_t sum = 0;

    for (uint32_t id = 0; id < records_count(); id++) {
        struct record *record = record_get(id);
        int64_t value = 0;
        if (record && record->source == SOURCE_THREADCREATE)
            threadcreate_read(record, &value);
        CHECK(value == 0 || record->tag != 0);
        sum += value;
    }
    return sum;
}

TEST_ALONE(what_was_created_is_counted_and_what_failed_is_not)
{
    const struct threadcreate_entry entry = {gang_run, NULL};

    set_up();
    errno = 4711;
    for (int i = 0; i < 10; i++) {
        const struct threadcreate creation = threadcreate_prepare(entry);
        threadcreate_end(creation, i < 7);
    }
    CHECK_INT(errno, 4711, "errno");
    CHECK_INT(all_counted(), 7, "count");
    threadcreate_set_on(false);
    threadcreate_end(threadcreate_prepare(entry), true);
    CHECK_INT(all_counted(), 7, "count when it is off");
}
