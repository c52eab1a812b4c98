/* sample - taking the calling thread's stack for a profile.
 *
 * The one place where a stack is captured: guard up, frames into a buffer on this stack or, where there is no
 * room for it, on a scratch stack (stack.h), the set of stacks asked for the one that it is, guard down.
 * What is done with the stack is the profile's business: its use() runs while the guard is still up.
 *
 * A sample that cannot be taken is counted (drops.def) under its source.
 *
 * Any thread, signal-safe; errno is kept. */
#ifndef CPROF_AGENT_SAMPLE_H
#define CPROF_AGENT_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/profile.h"
#include "agent/source.h"
#include "agent/unwind.h"

/* The first member of what the profile wants to know in use(). */
struct sample {
    uint32_t source;
    uint32_t skip; /* frames of the caller that are left out; all of them: an empty stack */
    void (*use)(struct sample *sample, struct stack *stack);
    /* A frame of the caller in which the walk begins, to pass the agent's own ones; NULL: here. */
    const struct unwind_frame *from;
    /* The same stack is likely to come again from there: it is remembered; not with skip. */
    bool is_repeated;
    bool recall_only; /* not taken where it has to be walked, which is no drop */
    bool is_walked;   /* set where it had to be */
};

/* False: dropped and counted; use() was not called. */
bool sample_take(struct sample *sample);

/* The stack of another thread that stands still as long as *seq is `want`; NULL: it does not any more. */
struct stack *sample_stack_of(const struct unwind_frame *from, const _Atomic uint32_t *seq,
                              uint32_t want);

/* record_intern(), which counts what ends in the overflow. */
struct record *sample_record(uint32_t source, struct stack *stack, uint64_t tag);

/* Frames kept per stack, up to STACK_DEPTH_MAX. */
void sample_set_depth(uint32_t depth);

#endif
