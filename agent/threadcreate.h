/* threadcreate - the threadcreate profile: one count per thread that was created, by the stack that created it and the
 * function that it began with.
 *
 * The creator is sampled once the thread exists: it is the creator's time, and the new thread runs already.  Nothing of
 * the agent runs in the new thread: it has no record (thread.h) before it needs one.
 * A snapshot that the new thread takes at once may come before its creator was sampled.
 *
 * Any thread, signal-safe; errno is kept. */
#ifndef CPROF_AGENT_THREADCREATE_H
#define CPROF_AGENT_THREADCREATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/unwind.h"
#include "base/compiler.h"

struct record;

/* The caller has created a thread that begins with `function`. */
void threadcreate_on_create_from(uintptr_t function, const struct unwind_frame *from);

/* Inlined: the walk begins in the wrapper's frame. */
static inline __attribute__((always_inline)) void threadcreate_on_create(uintptr_t function)
{
    const struct unwind_frame from = unwind_here();

    threadcreate_on_create_from(function, &from);
}

/* Any time. */
void threadcreate_set_on(bool is_on);

/* ---- the profile (profiles.def) ---- */

#define threadcreate_period NULL
void threadcreate_read(struct record *record, int64_t *ret_values);
#define threadcreate_comment NULL

#endif
