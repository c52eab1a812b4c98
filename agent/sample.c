/* sample - see sample.h. */
#include "agent/sample.h"

#include <string.h>

#include "agent/stack.h"
#include "agent/stacktab.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/compiler.h"
#include "base/sys.h"

static _Atomic uint32_t depth_max = 128;

void sample_set_depth(uint32_t depth)
{
    store_relaxed(&depth_max, depth < STACK_DEPTH_MAX ? depth : STACK_DEPTH_MAX);
}

/* What is skipped is taken beyond the depth, as far as there is room. */
static inline size_t frames_to_take(const struct sample *sample)
{
    const size_t n = (size_t)load_relaxed(&depth_max) + sample->skip;

    return n < STACK_DEPTH_MAX ? n : STACK_DEPTH_MAX;
}

/* Those of the caller that are not skipped, moved to the front. */
static size_t drop_skipped(uintptr_t *pcs, size_t n, size_t skip, bool *truncated)
{
    const size_t depth = load_relaxed(&depth_max);

    n -= skip < n ? skip : n;
    memmove(pcs, pcs + skip, n * sizeof *pcs);
    *truncated |= n > depth;
    return n < depth ? n : depth;
}

/* pcs: room for frames_to_take() + STACK_OWN_FRAMES.  Inlined, as each frame of our own costs a step of the walk. */
static inline __attribute__((always_inline)) void capture(struct sample *sample, uintptr_t *pcs)
{
    struct unwind_memo *memo = NULL;
    bool truncated;
    const size_t max = frames_to_take(sample);
    size_t n = sample->is_repeated
                   ? stack_capture_memo(sample->from, pcs, max, &truncated, &memo)
                   : stack_capture(sample->from, pcs, max, &truncated);

    if (unlikely(sample->skip))
        n = drop_skipped(pcs, n, sample->skip, &truncated);
    struct stack *stack = stacktab_intern(pcs, n, truncated && n);
    if (memo)
        unwind_remember(memo, (uintptr_t)stack);
    sample->use(sample, stack);
}

/* The buffer for the frames is the largest thing on the stack: two sizes of it. */
enum {
    SHALLOW_FRAMES = 128 + STACK_OWN_FRAMES,
    DEEP_FRAMES = STACK_DEPTH_MAX + STACK_OWN_FRAMES
};

static NOINLINE void capture_shallow(void *sample)
{
    uintptr_t pcs[SHALLOW_FRAMES];

    capture(sample, pcs);
}

static NOINLINE void capture_deep(void *sample)
{
    uintptr_t pcs[DEEP_FRAMES];

    capture(sample, pcs);
}

/* False: there is no stack to work on. */
static inline bool walk(struct sample *sample)
{
    const bool is_deep = frames_to_take(sample) + STACK_OWN_FRAMES > SHALLOW_FRAMES;
    const size_t room =
        stack_capture_bytes() + sizeof(uintptr_t) * (is_deep ? DEEP_FRAMES : SHALLOW_FRAMES);
    void (*work)(void *) = is_deep ? capture_deep : capture_shallow;

    sample->is_walked = true;
    if (unlikely(!stack_has_room(room)))
        return stack_call_on_scratch(work, sample);
    work(sample);
    return true;
}

/* With the stack that a repeated sample had before.  False: it has to be walked. */
static inline bool recall(struct sample *sample)
{
    enum { USE_BYTES = 2048 }; /* what use() may take of the stack */
    struct stack *known = NULL;

    if (sample->is_repeated && likely(stack_has_room(USE_BYTES)))
        known = (struct stack *)unwind_recall(sample->from);  // NOLINT

    if (known)
        sample->use(sample, known);
    return known;
}

bool sample_take(struct sample *sample)
{
    if (!guard_enter()) {
        thread_count_drop(sample->source, DROP_REENTRANT);
        return false;
    }
    const bool is_taken = recall(sample) || (!sample->recall_only && walk(sample));
    if (likely(is_taken))
        thread_count_kept(sample->source);
    else if (!sample->recall_only)
        thread_count_drop(sample->source, DROP_STACK_FULL);
    guard_leave();
    return is_taken;
}

struct record *sample_record(uint32_t source, struct stack *stack, uint64_t tag)
{
    struct record *record = record_intern(source, stack, tag);

    if (unlikely(record->stack == &stack_overflow))
        thread_count_drop(source, DROP_OVERFLOW);
    return record;
}

/* ---- another thread's stack ---- */

enum { PAGE_BYTES = 4096, COPY_BYTES_MAX = 1 << 20 };

/* Up to `size` bytes from `low` on, page by page as far as there is memory. */
static size_t copy_stack(char *to, uintptr_t low, size_t size)  // NOLINT: the kernel writes
{
    struct iovec pages[COPY_BYTES_MAX / PAGE_BYTES + 1];
    const struct iovec all = {to, size};
    size_t n = 0;

    for (uintptr_t at = low; at < low + size; n++) {
        const uintptr_t next = (at | (PAGE_BYTES - 1)) + 1;
        const uintptr_t limit = next < low + size ? next : low + size;
        pages[n] = (struct iovec){(void *)at, limit - at};  // NOLINT
        at = limit;
    }
    const ssize_t copied = sys_copy_memory(sys_getpid(), &all, pages, n);
    return copied > 0 ? (size_t)copied & ~(size_t)7 : 0;
}

/* Frames of it, from a copy of `size` bytes.  False: a larger one may show more. */
static bool walk_copy(const struct unwind_frame *from, size_t size, uintptr_t *ret_pcs,
                      size_t *ret_n)
{
    char *data = arena_map_job(size);
    bool is_cut = false;

    *ret_n = 0;
    if (!data)
        return true;
    const struct unwind_copy copy = {
        .data = data, .low = from->sp, .size = copy_stack(data, from->sp, size)};
    if (copy.size)
        *ret_n = unwind_walk_copy(*from, &copy, ret_pcs, DEEP_FRAMES, &is_cut);
    arena_unmap(data, size);
    return !is_cut || copy.size < size;
}

/* The frames above the wrapper's do not change before the wait ends: what was copied while it was still
 * the same wait is one stack. */
struct stack *sample_stack_of(const struct unwind_frame *from, const _Atomic uint32_t *seq,
                              uint32_t want)
{
    uintptr_t pcs[DEEP_FRAMES];
    bool truncated;
    size_t n = 0;

    for (size_t size = 4 * PAGE_BYTES; size <= COPY_BYTES_MAX; size *= 8)
        if (walk_copy(from, size, pcs, &n))
            break;
    atomic_thread_fence(memory_order_acquire);
    if (load_relaxed(seq) != want)
        return NULL;
    n = stack_keep(pcs, n, load_relaxed(&depth_max), &truncated);
    return stacktab_intern(pcs, n, truncated);
}
