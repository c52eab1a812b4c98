#include "agent/holders.h"

#include <errno.h>

#include "agent/process.h"
#include "tests/unit/help.h"

/* Two locks of one bucket, and the first. */
static char locks[1 << 20];

static const char *neighbour(const char *lock)
{
    for (size_t i = 0; i < sizeof locks; i += 8)
        if (locks + i != lock && holders_bucket_of(locks + i) == holders_bucket_of(lock))
            return locks + i;
    FAIL("no second lock in the bucket");
    return lock;
}

TEST_ALONE(a_holder_pays_for_the_time_between_the_wait_and_its_release)
{
    int64_t nobody = 0;

    const int64_t term = holders_enter(locks, 1000, &nobody);
    CHECK_INT(term, 1000, "term");
    CHECK(holders_is_awaited(locks));
    CHECK_INT(holders_release(locks, 1500), 500, "charge");
    CHECK_INT(holders_release(locks, 1700), 200, "charge of the one that came in between");
    holders_leave(locks, term, 1730, true, &nobody);
    CHECK_INT(nobody, 30, "wake-up");
    CHECK(!holders_is_awaited(locks));
    CHECK_INT(holders_release(locks, 1800), 0, "nobody waits");
}

TEST_ALONE(each_waiter_counts_from_its_own_start)
{
    int64_t nobody = 0;

    const int64_t a = holders_enter(locks, 1000, &nobody);
    const int64_t b = holders_enter(locks, 1100, &nobody);
    CHECK_INT(holders_release(locks, 1200), 200 + 100, "charge");
    holders_leave(locks, a, 1210, true, &nobody);
    CHECK_INT(holders_release(locks, 1300), 100, "b only");
    holders_leave(locks, b, 1300, true, &nobody);
    CHECK_INT(nobody, 10, "wake-ups");
    CHECK(!holders_is_awaited(locks));
}

TEST_ALONE(what_one_waited_that_gave_up_is_left_to_the_next_release)
{
    int64_t nobody = 0;

    const int64_t term = holders_enter(locks, 1000, &nobody);
    holders_leave(locks, term, 1400, false, &nobody);
    CHECK_INT(nobody, 0, "wake-up");
    CHECK(holders_is_awaited(locks));
    CHECK_INT(holders_release(locks, 2000), 400, "charge");
    CHECK(!holders_is_awaited(locks));
}

TEST_ALONE(what_nobody_releases_is_nobodys)
{
    const char *other = neighbour(locks);
    int64_t nobody = 0;

    holders_leave(locks, holders_enter(locks, 1000, &nobody), 1400, false, &nobody);
    const int64_t term = holders_enter(other, 5000, &nobody);
    CHECK_INT(nobody, 400, "nobody's");
    CHECK_INT(holders_release(other, 5100), 100, "charge");
    holders_leave(other, term, 5100, true, &nobody);
}

TEST_ALONE(a_second_lock_in_the_bucket_is_not_followed)
{
    const char *other = neighbour(locks);
    int64_t nobody = 0;

    const int64_t term = holders_enter(locks, 1000, &nobody);
    CHECK_INT(holders_enter(other, 1000, &nobody), -EBUSY, "term");
    CHECK(!holders_is_awaited(other));
    CHECK_INT(holders_release(other, 1100), 0, "charge");
    CHECK_INT(holders_release(locks, 1200), 200, "charge");
    holders_leave(locks, term, 1200, true, &nobody);
    CHECK_INT(nobody, 0, "wake-up");
}

TEST_ALONE(a_busy_bucket_is_not_waited_for_and_a_late_leave_is_booked)
{
    struct holders_bucket *bucket = holders_bucket_of(locks);
    int64_t nobody = 0;

    const int64_t term = holders_enter(locks, 1000, &nobody);
    if (!lock_try(&bucket->lock, process_pid()))
        FAIL("the bucket is busy");
    CHECK_INT(holders_enter(locks, 1000, &nobody), -EBUSY, "term");
    CHECK_INT(holders_release(locks, 1200), 0, "charge");
    holders_leave(locks, term, 1300, true, &nobody);
    lock_drop(&bucket->lock);
    CHECK_INT(nobody, 300, "nobody's");
    CHECK_INT(holders_release(locks, 1400), 0, "charge");
    CHECK(!holders_is_awaited(locks));
}

TEST_ALONE(times_that_step_back_are_raised)
{
    int64_t nobody = 0;

    const int64_t a = holders_enter(locks, 1000, &nobody);
    int64_t charged = holders_release(locks, 1500);
    const int64_t b = holders_enter(locks, 1400, &nobody); /* read before the release */
    CHECK_INT(b, 1500, "term");
    charged += holders_release(locks, 1450);
    holders_leave(locks, a, 1600, true, &nobody);
    charged += holders_release(locks, 1700);
    holders_leave(locks, b, 1700, true, &nobody);
    CHECK_INT(charged + nobody, (1600 - 1000) + (1700 - 1400), "all that was waited");
    CHECK(!holders_is_awaited(locks));
}

TEST_ALONE(a_forked_child_starts_anew)
{
    int64_t nobody = 0;

    holders_enter(locks, 1000, &nobody);
    process_init();
    holders_enter(locks, 1000, &nobody);
    struct holders_bucket *bucket = holders_bucket_of(locks);
    bucket->pid = -1; /* as if of another process */
    CHECK_INT(holders_release(locks, 2000), 0, "charge");
    CHECK(!holders_is_awaited(locks));
}

/* The law, with random waits of several threads' worth over times that differ by some ns. */
TEST_ALONE(charges_and_wakeups_are_the_waiting)
{
    enum { N_WAITERS = 20, N_STEPS = 20000 };
    struct {
        bool waits;
        int64_t start, term;
    } waiters[N_WAITERS] = {0};
    uint64_t random = 7;
    int64_t now = (int64_t)1 << 60; /* n * u leaves 63 bits */
    int64_t charged = 0, nobody = 0, waited = 0;

    for (int i = 0; i < N_STEPS || i % N_WAITERS; i++) {
        const uint64_t r = next_random(&random);
        const int64_t seen = now - (int64_t)(r >> 60);
        const size_t w = r % N_WAITERS;
        now += (int64_t)(r >> 20 & 63);
        if (r >> 8 & 1) {
            charged += holders_release(locks, seen);
        } else if (!waiters[w].waits) {
            waiters[w].waits = true;
            waiters[w].start = seen;
            waiters[w].term = holders_enter(locks, seen, &nobody);
        } else {
            waiters[w].waits = false;
            waited += seen - waiters[w].start;
            holders_leave(locks, waiters[w].term, seen, r >> 9 & 1, &nobody);
        }
    }
    for (int w = 0; w < N_WAITERS; w++)
        if (waiters[w].waits) {
            waited += now - waiters[w].start;
            holders_leave(locks, waiters[w].term, now, true, &nobody);
        }
    charged += holders_release(locks, now);
    CHECK_INT(charged + nobody, waited, "sum");
    CHECK_AT_LEAST(charged, waited / 2, "charged");
    CHECK(!holders_is_awaited(locks));
}

/* The leave of a waiter that found the bucket busy and stands still between its steps. */
TEST_ALONE(a_late_leave_is_booked_as_a_whole_or_not_yet)
{
    struct holders_bucket *bucket = holders_bucket_of(locks);
    int64_t nobody = 0;

    const int64_t a = holders_enter(locks, 1000, &nobody);
    const int64_t b = holders_enter(locks, 1000, &nobody);
    CHECK_INT(holders_release(locks, 1500), 1000, "charge");
    CHECK(lock_try(&bucket->lock, process_pid()));
    holders_leave(locks, a, 1500, true, &nobody);
    lock_drop(&bucket->lock);
    add_relaxed(&bucket->late, HOLDERS_LATE_BEGUN);
    add_relaxed(&bucket->late_ns, (uint64_t)b);
    CHECK_INT(holders_release(locks, 1600), 200, "charge while half a leave stands there");
    add_relaxed(&bucket->late, HOLDERS_LATE_DONE);
    holders_release(locks, 1700);
    CHECK(!holders_is_awaited(locks));
}

static _Atomic int64_t all_charged, all_nobody, all_waited;

static void wait_and_release(int i)
{
    int64_t nobody = 0, charged = 0, waited = 0;
    static _Atomic int64_t clock;

    (void)i;
    for (int k = 0; k < 20000 / SCALE; k++) {
        const int64_t start = add_relaxed(&clock, 3);
        const int64_t term = holders_enter(locks, start, &nobody);
        charged += holders_release(locks, add_relaxed(&clock, 5));
        const int64_t end = add_relaxed(&clock, 1);
        if (term < 0)
            continue;
        waited += end - start;
        holders_leave(locks, term, end, k % 3 != 0, &nobody);
    }
    add_relaxed(&all_nobody, nobody);
    add_relaxed(&all_charged, charged);
    add_relaxed(&all_waited, waited);
}

TEST_ALONE(threads_keep_the_law)
{
    process_init();
    in_threads(8, wait_and_release);
    const int64_t rest = holders_release(locks, INT64_MAX / 2);
    CHECK(!holders_is_awaited(locks));
    CHECK_INT(load_relaxed(&all_charged) + load_relaxed(&all_nobody) + rest,
              load_relaxed(&all_waited), "sum");
}
