/* stacktab - the set of distinct stacks.
 *
 * A stack is built completely, then published in a trie; it is never moved or freed, so readers need
 * no lock and a pointer is a name for life.  Captured stacks are compared by their raw program counters; what
 * a stack means are its locations (module, address).  After an unload (modules_epoch) a known stack is
 * believed only when all its modules are still there, else the same numbers make a new stack.
 *
 * No memory: stacktab_intern() returns &stack_overflow; the profile stays correct in total,
 * those samples lose their frames (the caller counts them).
 *
 * Any thread, also in a signal handler.  Never allocates with malloc, never blocks. */
#ifndef CPROF_AGENT_STACKTAB_H
#define CPROF_AGENT_STACKTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/trie.h"

struct stack {
    struct trie_item item;
    trie_slot records;      /* what the profiles count for it: profile.h */
    _Atomic uint32_t epoch; /* modules_epoch() in which its frames were last checked */
    uint16_t n_frames;
    bool truncated;            /* outer frames were left out: ends in [truncated] */
    const uint32_t *locations; /* ids per frame (locations.h); behind pcs */
    uintptr_t pcs[];           /* as unwind_walk() gives them */
};

extern struct stack stack_overflow; /* stands for all stacks that did not fit; no frames */
extern struct stack
    stack_wakeup; /* stands for nobody's stack: the time to wake up; no frames */
extern struct stack stack_inherited; /* who opened it before the agent came; no frames */
extern struct stack stack_untracked; /* who opened it unseen; no frames */

/* The one struct stack with these frames; they come from the caller's own stack. */
struct stack *stacktab_intern(const uintptr_t *pcs, size_t n, bool truncated);

/* The number of the location of one address, which is no return address; 0: no memory. */
uint32_t stacktab_locate(uintptr_t address);

size_t stacktab_count(void);

#endif
