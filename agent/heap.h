/* heap - which stacks allocate, and which of it is still alive.
 *
 * Every thread counts allocated bytes down to its next sample (sampler.h); the wrappers test that
 * countdown and, on free, one byte of the page filter, and normally jump straight on.  A sample gets a
 * record (stack, size class) and a place in the live table, so that its free finds it again.
 *
 * The page filter: one counter per page of the address space modulo 4 GiB, +1 for each live sampled
 * object on the page, saturating at 255 (then it sticks).  free() of anything on a page with 0 is none
 * of ours; elsewhere a second filter, by places of 16 bytes, comes before the live table.  At rate 1 every
 * free is ours: an array of ones takes the filter's place, which is not kept up meanwhile;
 * heap_set_rate() completes it before it is looked at again.
 *
 * Counters only grow: allocated and freed, objects and bytes; in use is the difference.  The peak
 * is remembered lazily: when the total in use exceeds the last peak by 1/64 (before a snapshot: at all) the
 * peak's epoch rises, and each shard saves its own in-use values when it is touched for the first time in it.
 *
 * Given up: objects freed behind our back (munmap of a foreign allocator) stay in use until their
 * address is sampled again (at rate 1: usually). */
#ifndef CPROF_AGENT_HEAP_H
#define CPROF_AGENT_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/profile.h"
#include "agent/thread.h"
#include "agent/unwind.h"
#include "base/atomic.h"
#include "base/compiler.h"

enum { HEAP_PAGE_BITS = 12, HEAP_FILTER_BITS = 32 - HEAP_PAGE_BITS };

/* Where the filter is: the counters, or at rate 1 as many bytes that are all set. */
HIDDEN extern const uint8_t *heap_filter;

/* ---- the miss path: 7 instructions for malloc, 6 for free, with the jump into the real one ---- */

/* True when this allocation reaches the thread's next sample (also on a thread's first call: the
 * countdown starts at 0; and at rate 1, where it stays 0).  Then the countdown is left as it is, so that a
 * siglongjmp before heap_on_due() does no harm.  A size of 0 counts as 1. */
static inline bool heap_sample_due(size_t size)
{
    size_t left = thread_self.heap_left_bytes;
    bool due;

#if defined(__x86_64__)
    /* The compare sets the borrow for size 0: left -= size + (size == 0). */
    __asm__("cmp $1, %[size]\n\tsbb %[size], %[left]"
            : [left] "+r"(left), "=@ccbe"(due)
            : [size] "r"(size));
#else
    const size_t counted = size + !size;

    due = left <= counted;
    left -= counted;
#endif
    if (unlikely(due))
        return true;
    thread_self.heap_left_bytes = left;
    return false;
}

/* False: `p` is surely not in the live table.  The low 32 bits of the address, by pages. */
static inline bool heap_may_be_tracked(const void *p)
{
    return heap_filter[(uint32_t)(uintptr_t)p >> HEAP_PAGE_BITS] != 0;
}

/* ---- what the wrappers report; all keep errno, any context ---- */

/* An allocation reached the countdown: before the real call, sets the next countdown, so that neither a
 * failure nor a siglongjmp leaves the thread without one.  Returns what heap_on_alloc() needs. */
struct heap_due {
    uint32_t rate; /* index + 1; 0: not a sample, it was only the thread's first call */
};
struct heap_due heap_on_due(size_t size);

/* The real call gave `p`; NULL: it failed, nothing is recorded.  Inlined: the walk begins in the wrapper. */
void heap_on_alloc_from(const void *p, size_t size, struct heap_due due,
                        const struct unwind_frame *from);
static inline __attribute__((always_inline)) void heap_on_alloc(const void *p, size_t size,
                                                                struct heap_due due)
{
    const struct unwind_frame from = unwind_here();

    heap_on_alloc_from(p, size, due, &from);
}

/* `p` is about to be freed. */
void heap_on_free(const void *p);

/* realloc takes the object out before the real call: heap_on_free() would count it as freed although
 * the call may fail.  heap_put_back() undoes it, heap_on_free_taken() makes it final. */
struct heap_taken {
    uint64_t value; /* 0: it was not tracked */
    uint64_t birth; /* as livetab_take() gave it */
};
struct heap_taken heap_take(const void *p);
void heap_put_back(const void *p, struct heap_taken taken);
void heap_on_free_taken(struct heap_taken taken);

/* ---- control ---- */

/* Once, from the constructor: until then nothing is sampled.  Blocks of the early pool (real.h) come back to us, if it was used. */
void heap_init(uint64_t rate_bytes, bool early_was_used);

/* Mean bytes between samples; 1: every allocation, 0: off.  Returns the previous rate.  A thread
 * follows at its next sample, or after 1 MiB when sampling was off.  At most 63 different rates in the
 * life of a process, the first one included; another one changes nothing, which is logged and stands in the
 * comments.  Any thread, signal-safe; while another one changes the rate, or in a vfork child, nothing changes. */
uint64_t heap_set_rate(uint64_t rate_bytes);
uint64_t heap_rate(void);

/* A comment for every heap profile about what it cannot see; constant text. */
void heap_set_note(const char *text);

/* The smallest size class that holds `size`: multiples of 16 up to 128, then 4 per doubling. */
uint64_t heap_size_class(uint64_t size);

/* Sampled objects for which the live table has places. */
uint64_t heap_n_places(void);

/* ---- the profiles (profiles.def) ---- */

uint64_t heap_period(void);
void heap_read(struct record *record, int64_t *ret_values);
void heap_comment(void (*add)(void *arg, const char *line), void *arg);
void heap_peak_read(struct record *record, int64_t *ret_values);
/* Before the counters are read: asks every thread what it holds back, so that no peak is shown that
 * is below what is in use.  Any context. */
void heap_settle_peak(void);

#define allocs_period     heap_period
#define allocs_read       heap_read
#define allocs_comment    heap_comment
#define heap_peak_period  heap_period
#define heap_peak_comment heap_comment

/* In-use values of live objects that are at least `min_age_s` old, into sums[2 * record id] (objects,
 * in sampler units) and sums[2 * record id + 1] (bytes); records from n_records on are left out. */
void heap_sum_by_age(uint64_t min_age_s, uint64_t *sums, size_t n_records);

#endif
