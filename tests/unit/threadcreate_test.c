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

static uintptr_t function_number(uintptr_t i)
{
    return 0x1000 + i;
}

static int64_t count_of(const struct record *record)
{
    int64_t value = 0;

    threadcreate_read((struct record *)(uintptr_t)record, &value);
    return value;
}

/* All of them, and how many records they are in. */
static int64_t all_counted(int64_t *ret_n_records)
{
    int64_t sum = 0;

    *ret_n_records = 0;
    for (uint32_t id = 0; id < records_count(); id++) {
        const struct record *record = record_get(id);
        if (!record || record->source != SOURCE_THREADCREATE || !count_of(record))
            continue;
        sum += count_of(record);
        *ret_n_records += 1;
    }
    return sum;
}

static void check_counted(int64_t n, int64_t n_records, const char *what)
{
    int64_t records;

    CHECK_INT(all_counted(&records), n, what);
    CHECK_INT(records, n_records, what);
}

TEST_ALONE(creations_are_counted_by_function_and_keep_errno)
{
    set_up();
    errno = 4711;
    for (uintptr_t i = 0; i < 21; i++)
        threadcreate_on_create(function_number(i % 3));
    CHECK_INT(errno, 4711, "errno");
    check_counted(21, 3, "three functions from one place");
}

TEST_ALONE(creations_are_not_counted_while_it_is_off)
{
    set_up();
    threadcreate_on_create(function_number(1));
    threadcreate_set_on(false);
    threadcreate_on_create(function_number(1));
    check_counted(1, 1, "one of two");
}

TEST_ALONE(creations_inside_the_agent_are_drops)
{
    set_up();
    CHECK(guard_enter());
    threadcreate_on_create(function_number(1));
    guard_leave();
    check_counted(0, 0, "with the guard up");
    CHECK_INT(thread_sum_dropped(SOURCE_THREADCREATE, DROP_REENTRANT), 1, "drops");
}

TEST_ALONE(without_memory_creations_are_counted_together)
{
    set_up();
    arena_set_cap(0, 0);
    while (arena_alloc(16))
        ;
    for (uintptr_t i = 0; i < 10; i++)
        threadcreate_on_create(function_number(i));
    check_counted(10, 1, "[overflow]");
}

static void create_some(int t)
{
    for (uintptr_t i = 0; i < 20000 / SCALE; i++)
        threadcreate_on_create(function_number(i % 2 ? (uintptr_t)t : 100));
}

TEST_ALONE(creations_of_many_threads_are_all_counted)
{
    enum { THREADS = 8 };
    int64_t records;

    set_up();
    in_threads(THREADS, create_some);
    CHECK_INT(all_counted(&records), THREADS * (20000 / SCALE), "all");
}
