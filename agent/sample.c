/* sample - see sample.h. */
#include "agent/sample.h"

#include "agent/stack.h"
#include "agent/stacktab.h"
#include "agent/thread.h"
#include "base/compiler.h"

static _Atomic uint32_t depth_max = 128;

void sample_set_depth(uint32_t depth)
{
    store_relaxed(&depth_max, depth < STACK_DEPTH_MAX ? depth : STACK_DEPTH_MAX);
}

/* pcs: room for depth_max + STACK_OWN_FRAMES.  Inlined, as each frame of our own costs a step of the walk. */
static inline __attribute__((always_inline)) void capture(struct sample *sample,
                                                          uintptr_t *pcs)
{
    bool truncated;
    const size_t n = stack_capture(pcs, load_relaxed(&depth_max), &truncated);

    sample->use(sample, stacktab_intern(pcs, n, truncated));
}

/* The buffer for the frames is the largest thing on the stack: two sizes of it. */
enum {
    SHALLOW_FRAMES = 128 + STACK_OWN_FRAMES,
    DEEP_FRAMES = STACK_DEPTH_MAX + STACK_OWN_FRAMES
};

static NOINLINE void capture_shallow(void *arg)
{
    uintptr_t pcs[SHALLOW_FRAMES];

    capture(arg, pcs);
}

static NOINLINE void capture_deep(void *arg)
{
    uintptr_t pcs[DEEP_FRAMES];

    capture(arg, pcs);
}

bool sample_take(struct sample *sample)
{
    const bool is_deep = load_relaxed(&depth_max) + STACK_OWN_FRAMES > SHALLOW_FRAMES;
    const size_t room =
        stack_capture_bytes() + sizeof(uintptr_t) * (is_deep ? DEEP_FRAMES : SHALLOW_FRAMES);
    bool is_taken = true;

    if (!guard_enter()) {
        thread_count_drop(sample->source, DROP_REENTRANT);
        return false;
    }
    void (*work)(void *) = is_deep ? capture_deep : capture_shallow;
    if (likely(stack_has_room(room)))
        work(sample);
    else if (!stack_call_on_scratch(work, sample))
        is_taken = false;
    if (is_taken)
        thread_count_kept(sample->source);
    else
        thread_count_drop(sample->source, DROP_STACK_FULL);
    guard_leave();
    return is_taken;
}

struct record *sample_record(enum record_source source, struct stack *stack, uint64_t tag)
{
    struct record *record = record_intern(source, stack, tag);

    if (unlikely(record->stack == &stack_overflow))
        thread_count_drop(source, DROP_OVERFLOW);
    return record;
}
