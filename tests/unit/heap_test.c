#include "agent/heap.h"
#include "agent/livetab.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "agent/modules.h"
#include "agent/sampler.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/real.h"
#include "tests/unit/help.h"

/* Objects are made up: only their addresses count.  stack_init() is not called, so all stacks are
 * empty and the records differ by size class. */

static const uint64_t DEFAULT_RATE = 524288;

static void set_up(uint64_t rate_bytes)
{
    arena_set_cap((size_t)1 << 30, 0);
    modules_init();
    profile_init();
    heap_init(rate_bytes, false);
    thread_self.random = sampler_seed(); /* no first call that is no sample */
}

static void *object(uint64_t i)
{
    return (void *)(uintptr_t)(0x560012340000 + i * 48);
}

/* As the wrapper does when the countdown is reached. */
static void allocate(void *p, size_t size)
{
    heap_on_alloc(p, size, heap_on_due(size));
}

/* As heap_may_be_tracked(), but atomic: its plain loads are races to TSan. */
static bool may_be_tracked(const void *p)
{
#if defined(__SANITIZE_THREAD__)
    const uint8_t *filter = __atomic_load_n(&heap_filter, __ATOMIC_ACQUIRE);
    return __atomic_load_n(&filter[(uint32_t)(uintptr_t)p >> HEAP_PAGE_BITS],
                           __ATOMIC_RELAXED) != 0;
#else
    return heap_may_be_tracked(p);
#endif
}

static void release(void *p)
{
    if (may_be_tracked(p))
        heap_on_free(p);
}

struct values {
    int64_t alloc_objects, alloc_bytes, inuse_objects, inuse_bytes;
};

static struct values sum_all(void)
{
    struct values sum = {0};

    for (uint32_t id = 0; id < records_count(); id++) {
        int64_t of[4];
        if (!record_get(id))
            continue;
        heap_read(record_get(id), of);
        for (int i = 0; i < 4; i++)
            if (of[i] < 0)
                FAIL("record %u: value %d is %" PRId64, id, i, of[i]);
        sum.alloc_objects += of[0];
        sum.alloc_bytes += of[1];
        sum.inuse_objects += of[2];
        sum.inuse_bytes += of[3];
    }
    return sum;
}

static void check_values(struct values want, const char *what)
{
    const struct values got = sum_all();

    CHECK_INT(got.alloc_objects, want.alloc_objects, what);
    CHECK_INT(got.alloc_bytes, want.alloc_bytes, what);
    CHECK_INT(got.inuse_objects, want.inuse_objects, what);
    CHECK_INT(got.inuse_bytes, want.inuse_bytes, what);
}

/* ---- counting ---- */

TEST_ALONE(before_init_nothing_is_sampled)
{
    arena_set_cap(1 << 20, 0);
    for (int i = 0; i < 10; i++) {
        CHECK_INT(heap_sample_due(100), true, "due");
        allocate(object(i), 100);
    }
    check_values((struct values){0}, "before init");
    profile_init();
    heap_init(1, false);
    CHECK_INT(heap_sample_due(100), true, "due");
    allocate(object(0), 100);
    check_values((struct values){1, 100, 1, 100}, "after init");
}

TEST_ALONE(at_rate_1_every_object_and_byte_counts)
{
    enum { N = 100000 };
    struct values want = {0};

    set_up(1);
    for (size_t i = 0; i < N; i++) {
        const size_t size = i * 7919 % 5000;
        CHECK(heap_sample_due(size));
        allocate(object(i), size);
        want.alloc_objects++;
        want.alloc_bytes += (int64_t)size;
    }
    want.inuse_objects = want.alloc_objects;
    want.inuse_bytes = want.alloc_bytes;
    check_values(want, "all live");
    for (size_t i = 0; i < N; i += 2) {
        release(object(i));
        want.inuse_objects--;
        want.inuse_bytes -= (int64_t)(i * 7919 % 5000);
    }
    check_values(want, "half freed");
    for (size_t i = 0; i < N; i++)
        release(object(i)); /* every second one is none of ours any more */
    want.inuse_objects = want.inuse_bytes = 0;
    check_values(want, "all freed");
    CHECK_INT(thread_sum_kept(SOURCE_HEAP), N, "kept");
}

TEST_ALONE(large_sizes_are_exact_up_to_16_gib_and_to_the_page_beyond)
{
    static const uint64_t sizes[] = {1ull << 33,          (1ull << 34) - 1, 1ull << 34,
                                     (1ull << 34) + 4096, 1ull << 40,       1ull << 45};

    set_up(1);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        const int64_t before = sum_all().alloc_bytes;
        allocate(object(i), sizes[i]);
        CHECK_INT(sum_all().alloc_bytes - before, sizes[i], "bytes");
        release(object(i));
        CHECK_INT(sum_all().inuse_bytes, 0, "in use");
    }
}

TEST_ALONE(known_answers_at_the_default_rate)
{
    set_up(DEFAULT_RATE);
    for (uint64_t i = 0; i < 4; i++)
        allocate(object(i), 1024);
    check_values((struct values){2050, 2099200, 2050, 2099200}, "4 of 1024");
    release(object(2));
    check_values((struct values){2050, 2099200, 1537, 1574400}, "one freed");
    for (uint64_t i = 0; i < 4; i++)
        release(object(i));
    check_values((struct values){2050, 2099200, 0, 0}, "all freed");
    allocate(object(9), 524288);
    check_values((struct values){2051, 2099200 + 829411, 1, 829411}, "one of 524288");
}

TEST_ALONE(the_countdown_samples_one_point_per_rate_bytes)
{
    enum { N = 200000, SIZE = 1000 };
    int64_t n = 0;

    set_up(DEFAULT_RATE);
    thread_self.random = 0; /* as a new thread */
    for (int i = 0; i < N; i++)
        if (heap_sample_due(SIZE)) {
            allocate(object((uint64_t)i), SIZE);
            n++;
        }
    const struct values got = sum_all();
    const double expected = (double)N * SIZE / (double)DEFAULT_RATE;
    CHECK_AT_MOST(n, expected * 1.35, "slow paths");
    CHECK_AT_LEAST(n, expected * 0.7, "slow paths");
    CHECK_AT_MOST(got.alloc_bytes, 1.35 * N * SIZE, "estimated bytes");
    CHECK_AT_LEAST(got.alloc_bytes, 0.7 * N * SIZE, "estimated bytes");
    CHECK_INT(got.inuse_bytes, got.alloc_bytes, "in use");
}

TEST_ALONE(the_first_call_of_a_thread_is_a_sample_no_more_often_than_others)
{
    enum { N = 20000, SIZE = 52429 }; /* one in ten */
    int n = 0;

    set_up(DEFAULT_RATE);
    for (int i = 0; i < N; i++) {
        thread_self.random = 0;
        thread_self.heap_left_bytes = 0;
        CHECK(heap_sample_due(SIZE));
        n += heap_on_due(SIZE).rate != 0;
        CHECK(thread_self.random != 0);
    }
    CHECK_AT_MOST(n, N * 0.0952 + 6 * 42, "samples"); /* 1 - exp(-0.1), 6 sigma */
    CHECK_AT_LEAST(n, N * 0.0952 - 6 * 42, "samples");
}

TEST_ALONE(rate_0_records_nothing_and_looks_again_after_1_mib)
{
    set_up(0);
    for (uint64_t i = 0; i < 100; i++) {
        allocate(object(i), 1 << 20);
        CHECK_AT_MOST(thread_self.heap_left_bytes, SAMPLER_OFF_BYTES, "countdown");
        CHECK_AT_LEAST(thread_self.heap_left_bytes, SAMPLER_OFF_BYTES - (1 << 20), "countdown");
        release(object(i));
    }
    check_values((struct values){0}, "off");
    CHECK_INT(heap_period(), 1, "period is positive");
}

TEST_ALONE(a_failed_allocation_is_not_recorded)
{
    set_up(1);
    allocate(NULL, 100);
    check_values((struct values){0}, "failed");
}

TEST_ALONE(errno_is_kept)
{
    set_up(1);
    errno = 4711;
    for (uint64_t i = 0; i < 100; i++) {
        allocate(object(i), 100);
        struct heap_taken taken = heap_take(object(i));
        heap_put_back(object(i), taken);
        heap_on_free(object(i));
        allocate(object(i), 100);
        heap_on_free_taken(heap_take(object(i)));
        allocate((void *)0x1001, 100);
    }
    arena_set_cap(0, 0);
    for (uint64_t i = 0; i < 100000; i++)
        allocate(object(i), 100 + i % 3000);
    CHECK_INT(errno, 4711, "errno");
    heap_set_rate(DEFAULT_RATE);
    heap_set_rate(1);
    CHECK_INT(errno, 4711, "errno after a change of the rate");
}

TEST_ALONE(a_failed_realloc_puts_back_what_was_taken)
{
    set_up(1);
    allocate(object(1), 100);
    const struct heap_taken taken = heap_take(object(1));
    CHECK(taken.value != 0);
    check_values((struct values){1, 100, 1, 100}, "taken");
    CHECK_INT(heap_take(object(1)).value, 0, "taken twice");
    heap_put_back(object(1), taken);
    check_values((struct values){1, 100, 1, 100}, "put back");
    release(object(1));
    check_values((struct values){1, 100, 0, 0}, "freed");
    heap_put_back(object(2), (struct heap_taken){0});
    CHECK_INT(heap_take(object(2)).value, 0, "nothing put back");
    heap_on_free_taken((struct heap_taken){0});
    check_values((struct values){1, 100, 0, 0}, "nothing freed");
}

static uint64_t objects_of_age(uint64_t min_age_s)
{
    static uint64_t sums[2 * 64];
    uint64_t objects = 0;

    memset(sums, 0, sizeof sums);
    heap_sum_by_age(min_age_s, sums, 64);
    for (size_t i = 0; i < 64; i++)
        objects += sums[2 * i];
    return objects / SAMPLER_OBJECT;
}

TEST_ALONE(a_failed_realloc_does_not_make_an_object_young_again)
{
    uint64_t born_s, before, after, all;

    set_up(1);
    allocate(object(1), 1000);
    for (born_s = clock_mono_s(); clock_mono_s() <= born_s + 1;)
        usleep(1000);
    do { /* within one second, or the second object is old, too */
        release(object(2));
        born_s = clock_mono_s();
        allocate(object(2), 1000);
        before = objects_of_age(1);
        heap_put_back(object(1), heap_take(object(1)));
        heap_put_back(object(2), heap_take(object(2)));
        after = objects_of_age(1);
        all = objects_of_age(0);
    } while (clock_mono_s() != born_s);
    CHECK_INT(before, 1, "before");
    CHECK_INT(after, 1, "after");
    CHECK_INT(all, 2, "of any age");
}

TEST_ALONE(put_back_at_a_sampled_rate_is_found_through_the_filter)
{
    set_up(DEFAULT_RATE);
    allocate(object(1), 1 << 20);
    heap_put_back(object(1), heap_take(object(1)));
    CHECK_INT(may_be_tracked(object(1)), true, "filter");
    release(object(1));
    CHECK_INT(sum_all().inuse_bytes, 0, "in use");
    CHECK_INT(may_be_tracked(object(1)), false, "filter afterwards");
}

TEST_ALONE(an_address_given_out_again_ends_the_life_of_the_object_before)
{
    set_up(1);
    allocate(object(1), 100);
    allocate(object(1), 200); /* its free was never seen */
    check_values((struct values){2, 300, 1, 200}, "again");
    release(object(1));
    check_values((struct values){2, 300, 0, 0}, "freed");
}

/* ---- what is not kept ---- */

TEST_ALONE(an_odd_address_counts_as_allocated_and_not_as_in_use)
{
    static const uintptr_t odd[] = {0x1001, 0x100c,
                                    ((uintptr_t)1 << LIVETAB_ADDRESS_BITS) + 16};

    set_up(1);
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        allocate((void *)odd[i], 100);
        CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_ADDRESS), i + 1, "drops");
        check_values((struct values){(int64_t)i + 1, 100 * ((int64_t)i + 1), 0, 0}, "odd");
    }
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_LIVE_FULL), 0, "drops");
}

TEST_ALONE(when_memory_is_out_allocations_still_count_and_in_use_says_less)
{
    enum { N = 100000 };

    arena_set_cap(1 << 20, 0);
    profile_init();
    heap_init(1, false);
    for (uint64_t i = 0; i < N; i++)
        allocate(object(i), 100);
    const struct values got = sum_all();
    CHECK_INT(got.alloc_objects, N, "allocated");
    CHECK_INT(got.alloc_bytes, N * 100, "allocated");
    CHECK_INT(got.inuse_objects + (int64_t)thread_sum_dropped(SOURCE_HEAP, DROP_LIVE_FULL), N,
              "in use and dropped");
    CHECK_AT_LEAST(got.inuse_objects, 20000, "in use");
    for (uint64_t i = 0; i < N; i++)
        release(object(i));
    check_values((struct values){N, N * 100, 0, 0}, "all freed");
}

TEST_ALONE(a_stack_that_found_no_memory_is_counted_under_the_overflow)
{
    set_up(1);
    allocate(object(0), 16);
    arena_set_cap(0, 0);
    while (arena_alloc(16))
        ;
    allocate(object(1), 5000); /* a new size class */
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_OVERFLOW), 1, "drops");
    int64_t of[4];
    heap_read(record_intern(SOURCE_HEAP, &stack_overflow, 0), of);
    CHECK_INT(of[1], 5000, "bytes of the overflow");
    release(object(1));
    check_values((struct values){2, 5016, 1, 16}, "freed");
}

NOINLINE static void inside_the_agent(void)
{
    /* Deeper than the frame that raised the guard, as a signal handler is. */
    allocate(object(2), 100);
    release(object(1));
    heap_put_back(object(3), heap_take(object(3)));
}

TEST_ALONE(inside_the_agent_nothing_is_recorded_but_frees_are)
{
    set_up(1);
    allocate(object(1), 100);
    allocate(object(3), 100);
    CHECK(guard_enter());
    inside_the_agent();
    guard_leave();
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_REENTRANT), 1, "drops");
    check_values((struct values){2, 200, 1, 100}, "inside");
    allocate(object(2), 100);
    check_values((struct values){3, 300, 2, 200}, "outside again");
}

static void allocate_one(void *arg)
{
    allocate(arg, 100);
}

TEST_ALONE(where_no_stack_is_left_nothing_is_recorded_and_it_is_counted)
{
    enum { PAGE_BYTES = 4096 };

    if (WITH_TSAN || WITH_ASAN)
        SKIP("sanitizers do not know stacks of that size");
    set_up(1);
    allocate(object(1), 100);
    char *memory =
        mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED && mprotect(memory, PAGE_BYTES, PROT_NONE) == 0);
    arena_set_cap(arena_used_bytes(), 0); /* nor for a scratch stack */
    stack_call_on(memory + PAGE_BYTES, PAGE_BYTES, allocate_one, object(2));
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_STACK_FULL), 1, "drops");
    check_values((struct values){1, 100, 1, 100}, "the one before");
}

/* ---- the page filter ---- */

static size_t n_counted_pages(void)
{
    size_t n = 0;

    for (size_t page = 0; page < (size_t)1 << HEAP_FILTER_BITS; page++)
        n += heap_filter[page] != 0;
    return n;
}

TEST_ALONE(every_live_object_is_seen_by_the_filter_and_none_after_all_are_freed)
{
    enum { N = 100000 };

    set_up(DEFAULT_RATE);
    for (uint64_t i = 0; i < N; i++)
        allocate(object(i), 64);
    for (uint64_t i = 0; i < N; i++)
        if (!may_be_tracked(object(i)))
            FAIL("object %" PRIu64 " is missed", i);
    CHECK_AT_LEAST(n_counted_pages(), N * 48 / 4096, "pages");
    CHECK_AT_MOST(n_counted_pages(), N * 48 / 4096 + 2, "pages");
    for (uint64_t i = 0; i < N; i++)
        release(object(i));
    CHECK_INT(sum_all().inuse_bytes, 0, "in use");
    CHECK_INT(n_counted_pages(), 0, "pages");
}

TEST_ALONE(a_page_with_very_many_objects_saturates_and_sticks)
{
    enum { N = 300 };

    set_up(DEFAULT_RATE);
    for (uint64_t i = 0; i < N; i++)
        allocate((void *)(uintptr_t)(0x560012340000 + i * 8), 64);
    for (uint64_t i = 0; i < N; i++)
        release((void *)(uintptr_t)(0x560012340000 + i * 8));
    CHECK_INT(sum_all().inuse_bytes, 0, "in use");
    CHECK_INT(n_counted_pages(), 1, "the page that sticks");
}

TEST_ALONE(a_place_of_very_many_objects_saturates_and_sticks)
{
    enum { N = 300, SAME_PLACE = 1 << 20 };
    const uintptr_t first = 0x560012340000;

    set_up(DEFAULT_RATE);
    for (uint64_t i = 0; i < N; i++)
        allocate((void *)(first + i * SAME_PLACE), 64);
    CHECK_AT_LEAST(sum_all().inuse_bytes, 1, "in use");
    for (uint64_t i = 0; i < N; i++)
        release((void *)(first + i * SAME_PLACE));
    CHECK_INT(sum_all().inuse_bytes, 0, "in use");
}

TEST_ALONE(an_object_whose_free_was_not_seen_counts_in_the_filter_once)
{
    set_up(DEFAULT_RATE);
    for (int i = 0; i < 10; i++)
        allocate(object(1), 64);
    release(object(1));
    CHECK_INT(sum_all().inuse_bytes, 0, "in use");
    CHECK_INT(n_counted_pages(), 0, "pages");
}

TEST_ALONE(what_has_no_place_in_the_table_does_not_count_in_the_filter)
{
    char *const odd = (char *)object(1) + 1;

    set_up(DEFAULT_RATE);
    allocate(odd, 64);
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_ADDRESS), 1, "drops");
    CHECK_INT(n_counted_pages(), 0, "pages");
}

TEST_ALONE(an_early_pool_that_was_used_is_always_ours)
{
    set_up(DEFAULT_RATE);
    CHECK(!may_be_tracked(early_pool));
    heap_init(DEFAULT_RATE, true);
    for (size_t at = 0; at < EARLY_POOL_BYTES; at += 16)
        CHECK(may_be_tracked(early_pool + at));
    heap_set_rate(1);
    heap_set_rate(DEFAULT_RATE);
    for (size_t at = 0; at < EARLY_POOL_BYTES; at += 16)
        CHECK(may_be_tracked(early_pool + at));
}

TEST_ALONE(at_rate_1_every_free_is_ours)
{
    set_up(1);
    for (uint64_t i = 0; i < 100; i++)
        CHECK(may_be_tracked((void *)(uintptr_t)(i * 123456789)));
}

/* ---- changing the rate ---- */

static void count_comment(void *arg, const char *line)
{
    char *all = arg;

    strncat(all, line, 1000 - strlen(all));
    strncat(all, "\n", 1000 - strlen(all));
}

TEST_ALONE(set_rate_returns_the_rate_before)
{
    set_up(DEFAULT_RATE);
    CHECK_INT(heap_rate(), DEFAULT_RATE, "rate");
    CHECK_INT(heap_set_rate(1), DEFAULT_RATE, "before");
    CHECK_INT(heap_set_rate(0), 1, "before");
    CHECK_INT(heap_set_rate(4096), 0, "before");
    CHECK_INT(heap_set_rate(4096), 4096, "before");
    CHECK_INT(heap_rate(), 4096, "rate");
    CHECK_INT(heap_period(), 4096, "period");
}

TEST_ALONE(objects_of_every_rate_are_found_after_every_change)
{
    static const uint64_t changes[] = {1, 524288, 1, 1, 4096, 524288, 524288, 1, 0, 1, 4096};
    enum { N = 2000 };

    set_up(524288);
    for (size_t c = 0; c < COUNT_OF(changes); c++) {
        heap_set_rate(changes[c]);
        for (uint64_t i = 0; i < N; i++)
            allocate(object(c * N + i), 64);
        for (uint64_t k = 0; k <= c; k++)
            for (uint64_t i = 0; i < N && changes[k]; i++)
                if (!may_be_tracked(object(k * N + i)))
                    FAIL("change %zu: object %" PRIu64 " of change %" PRIu64 " is missed", c, i,
                         k);
    }
    for (uint64_t i = 0; i < N * COUNT_OF(changes); i++)
        release(object(i));
    const struct values got = sum_all();
    CHECK_INT(got.inuse_objects, 0, "in use");
    CHECK_INT(got.inuse_bytes, 0, "in use");
    CHECK_INT(n_counted_pages(), 0, "pages");
}

TEST_ALONE(each_object_keeps_the_weight_of_its_own_rate)
{
    set_up(1);
    allocate(object(1), 1024);
    heap_set_rate(DEFAULT_RATE);
    allocate(object(2), 1024);
    check_values((struct values){513, 1024 + 524800, 513, 1024 + 524800}, "both");
    release(object(2));
    check_values((struct values){513, 1024 + 524800, 1, 1024}, "the exact one is left");
}

TEST_ALONE(more_rates_than_there_is_room_for_change_nothing)
{
    set_up(DEFAULT_RATE);
    for (uint64_t rate = 2; rate < 60; rate++)
        heap_set_rate(rate);
    allocate(object(1), 1000);
    const struct values before = sum_all();
    for (uint64_t rate = 1000; rate < 1100; rate++)
        heap_set_rate(rate);
    const uint64_t kept = heap_rate();
    CHECK_AT_MOST(kept, 1010, "rate");
    CHECK_INT(heap_set_rate(77777), kept, "refused");
    CHECK_INT(heap_rate(), kept, "rate");
    heap_set_rate(DEFAULT_RATE);
    CHECK_INT(heap_rate(), DEFAULT_RATE, "a known rate");
    check_values(before, "old weights");
    release(object(1));
    CHECK_INT(sum_all().inuse_bytes, 0, "in use");
}

TEST_ALONE(the_63rd_rate_counts_right_and_the_64th_is_refused_aloud)
{
    char all[1001] = "";
    double before = 0;

    set_up(1000);
    for (uint64_t i = 1; i < 63; i++) {
        CHECK_INT(heap_set_rate(1000 + i), 1000 + i - 1, "before");
        allocate(object(i), 500);
        const double bytes = (double)sum_all().inuse_bytes;
        CHECK_AT_LEAST(bytes - before, 500 / sampler_one_minus_exp(500.0 / (1000 + i)) - 1,
                       "weight");
        CHECK_AT_MOST(bytes - before, 500 / sampler_one_minus_exp(500.0 / (1000 + i)) + 1,
                      "weight");
        before = bytes;
    }
    heap_comment(count_comment, all);
    CHECK(!strstr(all, "refused"));
    const struct capture capture = capture_begin();
    log_init();
    for (int i = 0; i < 3; i++)
        CHECK_INT(heap_set_rate(2000), 1062, "refused");
    const char *said = capture_end(capture);
    CHECK_INT(count_lines(said), 1, said);
    check_contains(said, "cprof: heap: rate 2000: ", "log");
    CHECK_INT(heap_rate(), 1062, "rate");
    heap_comment(count_comment, all);
    check_contains(all, "heap rate: 3 changes refused", "comment");
    CHECK_INT(heap_set_rate(1000), 1062, "a known rate");
    CHECK_INT(heap_rate(), 1000, "rate");
    for (uint64_t i = 1; i < 63; i++)
        release(object(i));
    CHECK_INT(sum_all().inuse_bytes, 0, "in use");
}

static _Atomic int n_interruptions, n_not_followed;

static void change_and_look(int number)
{
    (void)number;
    heap_set_rate(4096);
    add_relaxed(&n_not_followed, heap_rate() != 4096);
    add_relaxed(&n_interruptions, 1);
}

TEST_ALONE(a_handler_that_interrupts_a_change_of_the_rate_changes_it_too)
{
    enum { N = 100000, ENOUGH = 50 };
    const struct itimerval often = {.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000};
    const struct itimerval never = {0};

    set_up(1);
    for (uint64_t i = 0; i < N; i++) /* a change looks at all of them */
        allocate(object(i), 64);
    signal(SIGALRM, change_and_look);
    setitimer(ITIMER_REAL, &often, NULL);
    while (load_relaxed(&n_interruptions) < ENOUGH) {
        heap_set_rate(1);
        heap_set_rate(DEFAULT_RATE);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK_INT(load_relaxed(&n_not_followed), 0, "changes that did nothing");
}

/* ---- many threads ---- */

enum { N_THREADS = 4, N_EACH = 100000 / SCALE, N_LIVE = 200 };

static void *own_object(int i, uint64_t k)
{
    return (void *)(uintptr_t)(0x100000000000 * (uint64_t)(i + 1) + k % (N_LIVE * 3) * 4112);
}

static void allocate_and_free(int i)
{
    for (uint64_t k = 0; k < N_EACH + N_LIVE; k++) {
        if (k >= N_LIVE)
            release(own_object(i, k - N_LIVE));
        if (k < N_EACH)
            allocate(own_object(i, k), k % 3000);
    }
}

TEST_ALONE(threads_count_exactly_at_rate_1)
{
    int64_t bytes = 0;

    set_up(1);
    for (uint64_t k = 0; k < N_EACH; k++)
        bytes += (int64_t)(k % 3000);
    in_threads(N_THREADS, allocate_and_free);
    check_values((struct values){N_THREADS * N_EACH, N_THREADS * bytes, 0, 0}, "all freed");
    CHECK_INT(thread_sum_kept(SOURCE_HEAP), N_THREADS * N_EACH, "kept");
}

static _Atomic int n_running;

static void allocate_and_free_or_switch(int i)
{
    static const uint64_t rates[] = {524288, 1, 4096, 1, 524288, 4096, 1};

    if (i < N_THREADS) {
        allocate_and_free(i);
        sub_relaxed(&n_running, 1);
        return;
    }
    for (size_t k = 0; load_relaxed(&n_running); k++)
        heap_set_rate(rates[k % COUNT_OF(rates)]);
}

TEST_ALONE(no_free_of_a_live_object_is_missed_while_the_rate_changes)
{
    set_up(1);
    store_relaxed(&n_running, N_THREADS);
    in_threads(N_THREADS + 1, allocate_and_free_or_switch);
    const struct values got = sum_all();
    CHECK_INT(got.inuse_objects, 0, "in use");
    CHECK_INT(got.inuse_bytes, 0, "in use");
    CHECK_AT_LEAST(got.alloc_objects, 1, "allocated");
}

static void allocate_and_free_or_read(int i)
{
    if (i < N_THREADS) {
        allocate_and_free(i);
        sub_relaxed(&n_running, 1);
        return;
    }
    static uint64_t sums[2 * 4096];
    while (load_relaxed(&n_running)) {
        const struct values got = sum_all(); /* complains about negative ones */
        CHECK_AT_MOST(got.inuse_objects, got.alloc_objects, "objects in use");
        CHECK_AT_MOST(got.inuse_bytes, got.alloc_bytes, "bytes in use");
        heap_sum_by_age(0, sums, 4096);
    }
}

TEST_ALONE(readers_beside_writers_see_no_more_in_use_than_was_allocated)
{
    set_up(1);
    store_relaxed(&n_running, N_THREADS);
    in_threads(N_THREADS + 1, allocate_and_free_or_read);
    CHECK_INT(sum_all().inuse_bytes, 0, "in use");
}

/* ---- peak ---- */

static int64_t peak_bytes(void)
{
    int64_t sum = 0;

    for (uint32_t id = 0; id < records_count(); id++) {
        int64_t of[2];
        heap_peak_read(record_get(id), of);
        CHECK(of[0] >= 0 && of[1] >= 0);
        sum += of[1];
    }
    return sum;
}

TEST_ALONE(the_peak_is_remembered_within_a_64th)
{
    static const uint64_t sizes[] = {64, 1000, 70000, 1 << 20};

    set_up(1);
    for (size_t s = 0; s < COUNT_OF(sizes); s++) {
        const uint64_t n = (64 << 20) / SCALE * (s + 1) / sizes[s];
        for (uint64_t i = 0; i < n; i++)
            allocate(object(i), sizes[s]);
        const double top = (double)sum_all().inuse_bytes;
        CHECK_AT_LEAST(peak_bytes(), top * 63 / 64 * 0.998, "peak at the top");
        CHECK_AT_MOST(peak_bytes(), top, "peak at the top");
        for (uint64_t i = 0; i < n; i++)
            release(object(i));
        CHECK_INT(sum_all().inuse_bytes, 0, "in use");
        CHECK_AT_LEAST(peak_bytes(), top * 63 / 64 * 0.998, "peak afterwards");
        CHECK_AT_MOST(peak_bytes(), top, "peak afterwards");
        for (uint64_t i = 0; i < n / 2; i++)
            allocate(object(i), sizes[s]);
        CHECK_AT_LEAST(peak_bytes(), top * 63 / 64 * 0.998, "peak after half of it again");
        CHECK_AT_MOST(peak_bytes(), top, "peak after half of it again");
        for (uint64_t i = 0; i < n / 2; i++)
            release(object(i));
    }
}

TEST_ALONE(a_small_program_has_a_peak_too)
{
    set_up(1);
    allocate(object(1), 1000);
    allocate(object(2), 3000);
    release(object(1));
    release(object(2));
    CHECK_INT(peak_bytes(), 4000, "peak");
}

TEST_ALONE(the_peak_by_record_is_of_one_moment)
{
    set_up(1);
    /* First 100 MiB in one size, then 50 in another after the first is gone. */
    for (uint64_t i = 0; i < 100; i++)
        allocate(object(i), 1 << 20);
    for (uint64_t i = 0; i < 100; i++)
        release(object(i));
    for (uint64_t i = 0; i < 800; i++)
        allocate(object(1000 + i), 1 << 16);
    int64_t first[2], second[2];
    struct stack *stack = record_get(N_SOURCES)->stack;
    heap_peak_read(record_intern(SOURCE_HEAP, stack, 1 << 20), first);
    heap_peak_read(record_intern(SOURCE_HEAP, stack, 1 << 16), second);
    CHECK_AT_LEAST(first[1], (100 << 20) * 0.98, "peak of the first");
    CHECK_INT(second[1], 0, "the second was not there then");
}

static void grow_and_shrink(int i)
{
    for (int round = 0; round < 10; round++) {
        for (uint64_t k = 0; k < N_LIVE; k++)
            allocate(own_object(i, k), 16384);
        for (uint64_t k = 0; k < N_LIVE; k++)
            release(own_object(i, k));
    }
}

TEST_ALONE(the_peak_of_many_threads_is_no_more_than_what_they_held)
{
    set_up(1);
    in_threads(N_THREADS, grow_and_shrink);
    CHECK_INT(sum_all().inuse_bytes, 0, "in use");
    /* At least what one thread held; at most what all held, and a sample under way in each. */
    CHECK_AT_LEAST(peak_bytes(), N_LIVE * 16384 * 0.98, "peak");
    CHECK_AT_MOST(peak_bytes(), N_THREADS * (N_LIVE + 1) * 16384, "peak");
}

/* A record whose owner lives is not taken over: without its own, the thread passes for another one. */
static void become_another_thread(void)
{
    thread_self.record = NULL;
}

TEST_ALONE(threads_that_grow_one_after_the_other_have_a_peak_within_3_percent)
{
    enum { N = 400, N_BLOCKS = 500 };

    set_up(1);
    for (uint64_t i = 0; i < N * N_BLOCKS; i++) {
        if (i % N_BLOCKS == 0)
            become_another_thread();
        allocate(object(i), 1000);
    }
    const double top = (double)sum_all().inuse_bytes;
    CHECK_AT_LEAST(peak_bytes(), top * 0.97, "peak at the top");
    heap_settle_peak();
    CHECK_INT(peak_bytes(), top, "peak when the threads are asked");
    release(object(0));
    heap_settle_peak();
    CHECK_INT(peak_bytes(), top, "peak later");
}

TEST_ALONE(the_peak_is_never_below_what_is_in_use)
{
    set_up(1);
    for (uint64_t i = 0; i < 1000; i++)
        allocate(object(i), 1000);
    heap_settle_peak();
    allocate(object(1000), 100); /* so little that the thread holds it back */
    heap_settle_peak();
    CHECK_INT(peak_bytes(), 1000100, "peak");
}

TEST_ALONE(what_another_thread_frees_is_no_peak)
{
    set_up(1);
    struct thread *const makes = thread_record();
    become_another_thread();
    struct thread *const frees = thread_record();
    CHECK(makes != frees);
    for (uint64_t n = 1000; n > 500; n -= 100) {
        thread_self.record = makes;
        for (uint64_t i = 0; i < n; i++)
            allocate(object(i), 1000);
        thread_self.record = frees;
        for (uint64_t i = 0; i < n; i++)
            release(object(i));
    }
    CHECK_AT_LEAST(peak_bytes(), 1000000 * 0.98, "peak");
}

/* ---- age ---- */

TEST_ALONE(sum_by_age_is_what_is_in_use)
{
    enum { N_RECORDS = 64 };
    static uint64_t sums[2 * N_RECORDS], none[2 * N_RECORDS];
    uint64_t objects = 0, bytes = 0;

    set_up(DEFAULT_RATE);
    for (uint64_t i = 0; i < 100; i++)
        allocate(object(i), 1000 * (i % 5 + 1));
    for (uint64_t i = 0; i < 50; i++)
        release(object(i));
    heap_sum_by_age(0, sums, N_RECORDS);
    for (uint32_t id = 0; id < records_count(); id++) {
        int64_t of[4];
        heap_read(record_get(id), of);
        CHECK_INT(sums[2 * id] / SAMPLER_OBJECT, of[2], "objects");
        CHECK_INT(sums[2 * id + 1], of[3], "bytes");
        objects += sums[2 * id];
        bytes += sums[2 * id + 1];
    }
    CHECK(objects > 0 && bytes > 0);
    heap_sum_by_age(100, none, N_RECORDS);
    for (size_t i = 0; i < COUNT_OF(none); i++)
        CHECK_INT(none[i], 0, "objects of 100 s");
    memset(none, 0, sizeof none);
    heap_sum_by_age(0, none, 2); /* no room for the others */
    for (size_t i = 0; i < COUNT_OF(none); i++)
        CHECK_INT(none[i], i < 4 ? sums[i] : 0, "the first two records");
}

/* ---- size classes ---- */

static void check_class(uint64_t size)
{
    const uint64_t class = heap_size_class(size);

    if (class < size || class % 16)
        FAIL("size %" PRIu64 ": class %" PRIu64, size, class);
    if (size > 128 && (double)class > 1.25 * (double)size)
        FAIL("size %" PRIu64 ": class %" PRIu64 " is too large", size, class);
    if (size && size <= 128 && class - size >= 16)
        FAIL("size %" PRIu64 ": class %" PRIu64 " is too large", size, class);
    if (heap_size_class(class) != class)
        FAIL("class %" PRIu64 " is in class %" PRIu64, class, heap_size_class(class));
    if (size && heap_size_class(size - 1) > class)
        FAIL("size %" PRIu64 ": class %" PRIu64 " is below that of one byte less", size, class);
}

TEST(size_classes_hold_their_sizes_and_are_monotone)
{
    uint64_t random = 1;

    for (uint64_t size = 0; size < 100000; size++)
        check_class(size);
    for (int i = 0; i < 1000000; i++)
        check_class(next_random(&random) >> (3 + random % 50));
    for (unsigned bit = 8; bit < 62; bit++) {
        check_class((1ull << bit) - 1);
        check_class(1ull << bit);
        check_class((1ull << bit) + 1);
    }
    CHECK_INT(heap_size_class(0), 16, "0");
    CHECK_INT(heap_size_class(1), 16, "1");
    CHECK_INT(heap_size_class(129), 160, "129");
}

/* ---- the comments ---- */

TEST_ALONE(comments_say_rate_and_ages)
{
    char all[1001] = "";

    set_up(1);
    allocate(object(1), 1000);
    allocate(object(2), 24);
    heap_comment(count_comment, all);
    check_contains(all, "heap rate: 1 bytes", "rate");
    check_contains(all, "under 1m: 2 objects, 1024 bytes", "ages");
}
