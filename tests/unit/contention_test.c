#include "agent/contention.h"

#include <errno.h>
#include <math.h>
#include <sys/mman.h>

#include "agent/modules.h"
#include "agent/process.h"
#include "agent/sampler.h"
#include "base/arena.h"
#include "base/clock.h"
#include "tests/unit/help.h"

/* stack_init() is not called: all stacks are empty, and the records differ by label. */

static void set_up(uint64_t block_rate, uint64_t mutex_rate, uint64_t fraction)
{
    arena_set_cap((size_t)1 << 28, 0);
    process_init();
    modules_init();
    profile_init();
    contention_init(block_rate, mutex_rate, fraction);
    thread_own_record()->waits.random = 20261121; /* the same draws in every run */
}

struct sums {
    int64_t count, ns;
};

static struct sums recorded(enum record_source source)
{
    struct sums sums = {0, 0};

    for (uint32_t id = 0; id < records_count(); id++) {
        struct record *record = record_get(id);
        int64_t values[2];
        if (!record || record->source != (uint32_t)source)
            continue;
        mutex_read(record, values);
        sums.count += values[0];
        sums.ns += values[1];
    }
    return sums;
}

static struct wait_budget *budget(void)
{
    return &thread_own_record()->waits.mutex;
}

/* With what waits for a stack. */
static struct sums all_of_mutex(void)
{
    struct sums sums = recorded(SOURCE_MUTEX);

    sums.count += (int64_t)load_relaxed(&budget()->carried_units) / CONTENTION_UNIT;
    sums.ns += (int64_t)load_relaxed(&budget()->carried_ns);
    return sums;
}

TEST_ALONE(at_rate_1_every_release_counts_as_it_is)
{
    set_up(1, 1, 0);
    for (int64_t ns = 1; ns <= 5000; ns++)
        contention_on_release(ns);
    CHECK_INT(recorded(SOURCE_MUTEX).count, 5000, "count");
    CHECK_INT(recorded(SOURCE_MUTEX).ns, 5000 * 5001 / 2, "ns");
    CHECK_INT(load_relaxed(&budget()->carried_ns), 0, "carried");
}

TEST_ALONE(nothing_due_is_no_event)
{
    set_up(1, 1, 0);
    contention_on_release(0);
    contention_on_release(-5);
    CHECK_INT(recorded(SOURCE_MUTEX).count, 0, "count");
}

TEST_ALONE(at_any_rate_sums_are_unbiased)
{
    static const int64_t lengths[] = {100, 1000, 10000, 40000, 99999, 100000, 250000};
    enum { RATE = 100000, N = 200000 / SCALE };

    set_up(RATE, RATE, 0);
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        const double d = (double)lengths[i], p = d < RATE ? d / RATE : 1;
        const struct sums before = all_of_mutex();
        for (int k = 0; k < N; k++)
            contention_on_release(lengths[i]);
        const struct sums after = all_of_mutex();
        const double sigma = sqrt((1 - p) / p / N);
        CHECK_AT_MOST(fabs((double)(after.count - before.count) / N - 1), 4 * sigma + 1e-3,
                      "count");
        CHECK_AT_MOST(fabs((double)(after.ns - before.ns) / (N * d) - 1), 4 * sigma + 1e-9,
                      "ns");
    }
}

TEST_ALONE(a_fraction_of_n_keeps_one_of_n_whatever_its_length)
{
    enum { N = 200000 / SCALE, OF = 5, D = 700 };

    set_up(0, 100000, OF);
    for (int k = 0; k < N; k++)
        contention_on_release(D);
    const double sigma = sqrt((OF - 1.0) / N);
    const struct sums sums = all_of_mutex();
    CHECK_AT_MOST(fabs((double)sums.count / N - 1), 4 * sigma, "count");
    CHECK_INT(sums.ns, sums.count * D, "ns");
}

TEST_ALONE(a_place_that_is_known_is_charged_however_often_it_comes)
{
    enum { RATE = 1000, N = 5000, D = 2000 };

    set_up(RATE, RATE, 0);
    for (int i = 0; i < N; i++)
        contention_on_release(D);
    CHECK_INT(recorded(SOURCE_MUTEX).count, N, "count");
    CHECK_INT(recorded(SOURCE_MUTEX).ns, N * D, "ns");
    CHECK_INT(load_relaxed(&budget()->carried_ns), 0, "carried");
}

/* More depths than there are places for walks to be remembered. */
static NOINLINE void release_deep(int depth, int64_t ns)
{
    char *volatile room = __builtin_alloca((size_t)depth * 16 + 16);

    room[0] = 1;
    contention_on_release(ns);
}

TEST_ALONE(over_1000_walks_a_second_the_weight_is_carried_to_the_next)
{
    enum { RATE = 1000, N = 5000, D = 2000, DEPTHS = 3000 };

    set_up(RATE, RATE, 0);
    const int64_t began_ns = (int64_t)clock_mono_ns();
    for (int i = 0; i < N; i++)
        release_deep(i * 7 % DEPTHS, D);
    CHECK_AT_LEAST(load_relaxed(&thread_own_record()->n_kept[SOURCE_MUTEX]), 1000,
                   "stacks at once");
    /* 1000 at once use up the second before; on a slow machine there was time for more. */
    CHECK_AT_LEAST(budget()->next_ns, began_ns, "the next walk");
    budget()->next_ns = INT64_MAX; /* time stands still */
    release_deep(DEPTHS, D);
    const struct sums before = recorded(SOURCE_MUTEX);
    CHECK_AT_LEAST(load_relaxed(&budget()->carried_ns), D, "carried");
    CHECK_INT(before.ns + (int64_t)load_relaxed(&budget()->carried_ns), (N + 1) * D, "ns");
    budget()->next_ns = 0; /* time goes by */
    release_deep(DEPTHS + 1, D);
    CHECK_INT(recorded(SOURCE_MUTEX).ns, (N + 2) * D, "ns with what was carried");
    CHECK_INT(recorded(SOURCE_MUTEX).count, N + 2, "count with what was carried");
    CHECK_INT(load_relaxed(&budget()->carried_ns), 0, "carried");
}

TEST_ALONE(what_finds_the_agent_busy_is_carried)
{
    set_up(1, 1, 0);
    CHECK(guard_enter());
    contention_on_release(300);
    guard_leave();
    CHECK_INT(recorded(SOURCE_MUTEX).ns, 0, "ns");
    CHECK_INT(load_relaxed(&budget()->carried_ns), 300, "carried");
    budget()->next_ns = 0;
    contention_on_release(40);
    CHECK_INT(recorded(SOURCE_MUTEX).ns, 340, "ns");
}

static void wait_once(enum wait_kind kind, const void *lock, enum contention_result result)
{
    struct contention wait;

    contention_begin(&wait, kind, lock);
    contention_end(&wait, result);
}

TEST_ALONE(a_lock_wait_without_its_stack_is_carried_to_the_next)
{
    enum { RATE = 1000, D = 1000000 };
    static const char lock[64];
    struct contention wait;

    set_up(RATE, 0, 0);
    struct wait_budget *of_block = &thread_own_record()->waits.block;
    for (int i = 0; i < 2; i++) {
        of_block->next_ns = i == 0 ? INT64_MAX : 0; /* time stands still, and goes by */
        contention_begin(&wait, WAIT_MUTEX, lock);
        wait.start_ns -= D;
        contention_end(&wait, CONTENTION_GOT_IT);
        CHECK_INT(recorded(SOURCE_BLOCK).count, i == 0 ? 0 : 2, "count");
        CHECK_AT_LEAST(recorded(SOURCE_BLOCK).ns + (int64_t)load_relaxed(&of_block->carried_ns),
                       (i + 1) * D, "ns");
    }
    CHECK_INT(load_relaxed(&of_block->carried_ns), 0, "carried");
}

TEST_ALONE(a_wait_that_failed_is_no_event)
{
    set_up(1, 1, 0);
    wait_once(WAIT_SEM, NULL, CONTENTION_FAILED);
    CHECK_INT(recorded(SOURCE_BLOCK).count, 0, "failed");
    wait_once(WAIT_SEM, NULL, CONTENTION_GAVE_UP);
    wait_once(WAIT_COND, NULL, CONTENTION_GOT_IT);
    CHECK_INT(recorded(SOURCE_BLOCK).count, 2, "waited");
}

TEST_ALONE(a_lock_that_failed_adds_nothing_to_either_profile)
{
    static const char lock[64];

    set_up(1, 1, 0);
    const struct thread_waits *waits = &thread_own_record()->waits;
    for (int i = 0; i < 1000; i++)
        wait_once(WAIT_MUTEX, lock, CONTENTION_FAILED);
    CHECK_INT(load_relaxed(&waits->wakeup_ns), 0, "wake-up");
    CHECK_INT(recorded(SOURCE_BLOCK).ns, 0, "block");
    CHECK_INT(contention_charge(lock), 0, "owed");
    wait_once(WAIT_MUTEX, lock, CONTENTION_GOT_IT);
    CHECK_INT(load_relaxed(&waits->wakeup_ns), recorded(SOURCE_BLOCK).ns, "nobody released");
}

TEST_ALONE(a_rate_of_0_measures_nothing_and_keeps_what_was_recorded)
{
    struct contention wait;

    set_up(1, 1, 0);
    wait_once(WAIT_SEM, NULL, CONTENTION_GOT_IT);
    contention_on_release(10);
    CHECK_INT(contention_set_block_rate(0), 1, "previous");
    CHECK_INT(contention_set_mutex_rate(0), 1, "previous");
    CHECK(!load_relaxed(&contention_is_on));
    contention_begin(&wait, WAIT_SEM, NULL);
    CHECK_INT(wait.start_ns, 0, "start");
    contention_end(&wait, CONTENTION_GOT_IT);
    contention_on_release(10);
    CHECK_INT(recorded(SOURCE_BLOCK).count, 1, "block");
    CHECK_INT(recorded(SOURCE_MUTEX).ns, 10, "mutex");
    CHECK_INT(contention_set_mutex_fraction(3), 0, "previous");
    CHECK(load_relaxed(&contention_is_on));
}

TEST_ALONE(waits_nest_up_to_three_and_the_fourth_is_counted_all_the_same)
{
    struct contention waits[5];

    set_up(1, 1, 0);
    const struct thread_waits *shown = &thread_own_record()->waits;
    for (int i = 0; i < 5; i++) {
        /* as handlers' frames lie: each far below the one that it interrupted */
        const struct unwind_frame from = {.sp = 0x700000000000 - (uintptr_t)i * 0x10000};
        contention_begin_at(&waits[i], WAIT_SEM, NULL, &from);
        CHECK_INT(shown->n, i < WAITS_NESTED ? i + 1 : WAITS_NESTED, "shown");
    }
    for (int i = 4; i >= 0; i--)
        contention_end(&waits[i], CONTENTION_GOT_IT);
    CHECK_INT(shown->n, 0, "shown");
    CHECK_INT(recorded(SOURCE_BLOCK).count, 5, "block");
}

TEST_ALONE(a_wait_whose_frame_is_gone_makes_room)
{
    struct contention left, next;

    set_up(1, 1, 0);
    const struct unwind_frame deep = {.sp = 0x700000000000}, beside = {.sp = deep.sp - 200};
    contention_begin_at(&left, WAIT_MUTEX, &left, &deep);
    contention_begin_at(&next, WAIT_SEM, NULL,
                        &beside); /* no signal frame has room in between */
    CHECK_INT(thread_own_record()->waits.n, 1, "shown");
    CHECK_INT(next.place, 0, "place");
    contention_end(&next, CONTENTION_GOT_IT);
    CHECK_INT(thread_own_record()->waits.n, 0, "shown");
}

TEST_ALONE(a_lock_whose_waiter_has_left_is_owed_for_no_longer)
{
    static const char lock[64];
    struct contention left, next;

    set_up(1, 1, 0);
    const struct thread_waits *waits = &thread_own_record()->waits;
    const struct unwind_frame deep = {.sp = 0x700000000000}, beside = {.sp = deep.sp - 200};
    contention_begin_at(&left, WAIT_MUTEX, lock, &deep);
    CHECK(contention_charge(lock) > 0);
    contention_begin_at(&next, WAIT_SEM, NULL, &beside); /* who knows how long it ran before */
    CHECK_INT(contention_charge(lock), 0, "owed");
    CHECK_INT(load_relaxed(&waits->wakeup_ns), 0, "wake-up");
    contention_end(&next, CONTENTION_GOT_IT);
}

static void pass_a_frame(_Unwind_Action actions)
{
    CHECK_INT(contention_unwound(1, actions, 0, NULL, NULL), _URC_CONTINUE_UNWIND, "unwound");
}

TEST_ALONE(an_unwinder_that_passes_a_frame_ends_its_wait)
{
    struct contention outer, inner;

    set_up(1, 1, 0);
    const struct thread_waits *shown = &thread_own_record()->waits;
    const struct unwind_frame high = {.sp = 0x700000000000}, low = {.sp = 0x600000000000};
    contention_begin_at(&outer, WAIT_SEM, NULL, &high);
    contention_begin_at(&inner, WAIT_MUTEX, &inner, &low);
    pass_a_frame(_UA_SEARCH_PHASE);
    CHECK_INT(shown->n, 2, "it looks for a handler first");
    pass_a_frame(_UA_CLEANUP_PHASE | _UA_FORCE_UNWIND);
    CHECK_INT(shown->n, 1, "the inner one");
    pass_a_frame(_UA_CLEANUP_PHASE);
    CHECK_INT(shown->n, 0, "the outer one");
    pass_a_frame(_UA_CLEANUP_PHASE);
    CHECK_INT(recorded(SOURCE_BLOCK).count, 2, "waited");
}

TEST_ALONE(an_unwinder_leaves_a_wait_alone_whose_call_is_gone)
{
    enum { BYTES = 4096 };
    char *memory =
        mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct contention *wait = (void *)memory;

    set_up(1, 1, 0);
    const struct unwind_frame from = {.sp = 0x700000000000};
    contention_begin_at(wait, WAIT_SEM, NULL, &from);
    wait->start_ns++; /* something else stands there */
    pass_a_frame(_UA_CLEANUP_PHASE);
    CHECK(munmap(memory, BYTES) == 0);
    pass_a_frame(_UA_CLEANUP_PHASE);
    CHECK_INT(thread_own_record()->waits.n, 1, "shown");
    CHECK_INT(recorded(SOURCE_BLOCK).count, 0, "waited");
}

TEST_ALONE(errno_is_kept)
{
    struct contention wait;

    set_up(1, 1, 0);
    errno = 4711;
    contention_begin(&wait, WAIT_MUTEX, &wait);
    CHECK_INT(errno, 4711, "begin");
    contention_end(&wait, CONTENTION_GAVE_UP);
    CHECK_INT(errno, 4711, "end");
    contention_on_release(5);
    CHECK_INT(errno, 4711, "release");
    CHECK_INT(contention_charge(&wait) >= 0, 1, "charge");
    CHECK_INT(errno, 4711, "charge");
}

TEST_ALONE(nothing_can_be_switched_on_where_the_locks_are_unknown)
{
    CHECK_INT(contention_set_block_rate(1), 0, "block");
    CHECK_INT(contention_set_mutex_rate(1), 0, "mutex");
    CHECK_INT(contention_set_mutex_fraction(1), 0, "fraction");
    CHECK_INT(contention_set_block_rate(1), 0, "block, again");
    CHECK_INT(load_relaxed(&contention_is_on), false, "on");
    CHECK_INT(contention_was_on(SOURCE_BLOCK), false, "block was on");
}

TEST_ALONE(a_profile_that_was_on_once_is_remembered)
{
    contention_init(0, 0, 0);
    CHECK_INT(load_relaxed(&contention_is_on), false, "on");
    CHECK_INT(contention_set_mutex_fraction(5), 0, "fraction");
    CHECK_INT(load_relaxed(&contention_is_on), true, "on with a fraction");
    CHECK_INT(contention_set_mutex_fraction(0), 5, "fraction");
    CHECK_INT(load_relaxed(&contention_is_on), false, "on without");
    CHECK_INT(contention_was_on(SOURCE_MUTEX), true, "mutex was on");
    CHECK_INT(contention_was_on(SOURCE_BLOCK), false, "block was on");
    CHECK_INT(contention_was_on(SOURCE_HEAP), false, "heap is none of these");
}
