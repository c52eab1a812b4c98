/* stack - the calling thread's stack: capturing its frames, and having room on it.
 *
 * Capture is the frame-rule engine (unwind.h).  Where that cannot work (another machine, a glibc before
 * 2.35) it is libunwind's unw_backtrace, loaded with dlopen(RTLD_LOCAL) so that its _Unwind_* symbols never
 * take over the program's exceptions; where that is missing too every stack is empty, which is said
 * once.  Frames of the agent itself are cut off.
 *
 * The unwinder needs some kilobytes.  A thread that has them works where it is; one that does not
 * (16 KiB stacks, nearly full ones) moves to a scratch stack of the agent for the moment, with all
 * signals blocked, so that no handler of the program ever runs there.
 *
 * Call with the guard up (thread.h).  Signal-safe once stack_init() has run. */
#ifndef CPROF_AGENT_STACK_H
#define CPROF_AGENT_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/unwind.h"
#include "base/compiler.h"

enum {
    STACK_DEPTH_MAX = 1024,
    /* Frames of the agent between the unwinder and the program: a buffer needs room for them. */
    STACK_OWN_FRAMES = 12,
};

/* Prepares the engine, or loads libunwind. From the constructor. 0, or -ENOENT: there is none. */
int stack_init(void);

/* The two steps of stack_capture(): all frames by the other unwinder, and those that are kept. */
size_t stack_capture_by_libunwind(uintptr_t *ret_pcs, size_t max);
size_t stack_keep(uintptr_t *pcs, size_t n, size_t max, bool *ret_truncated);

/* Return addresses of the calling thread, innermost first, without frames of the agent: at most
 * `max` (<= STACK_DEPTH_MAX) in a buffer of max + STACK_OWN_FRAMES.  *ret_truncated says that
 * outer ones were left out.  `from`: a frame of the caller's to begin in; NULL: here.  Inlined, as each frame of
 * our own costs a step of the walk. */
static inline __attribute__((always_inline)) size_t
stack_capture(const struct unwind_frame *from, uintptr_t *ret_pcs, size_t max,
              bool *ret_truncated)
{
    const size_t n =
        likely(unwind_is_supported())
            ? unwind_walk(from ? *from : unwind_here(), ret_pcs, max + STACK_OWN_FRAMES)
            : stack_capture_by_libunwind(ret_pcs, max + STACK_OWN_FRAMES);

    return stack_keep(ret_pcs, n, max, ret_truncated);
}

/* The same with a memo of it that may be filled in (unwind.h); NULL: none. */
size_t stack_capture_memo(const struct unwind_frame *from, uintptr_t *ret_pcs, size_t max,
                          bool *ret_truncated, struct unwind_memo **ret_memo);

/* True when the calling thread is inside the agent twice: below its present frames there are the program's
 * and then the agent's again, which a signal interrupted.  Where it cannot tell: true. */
bool stack_is_nested(void);

/* Stack that stack_capture() takes, without the caller's buffer and a signal that comes. */
size_t stack_capture_bytes(void);

/* True when the calling thread has `room_bytes` of stack left. */
bool stack_has_room(size_t room_bytes);

/* True when the address lies on the thread's own stack and all above it is known to be readable
 * (thread_self.stack_low), as far as 8 MiB of it can be asked for at once.  System calls where it is not known. */
bool stack_is_own(uintptr_t address);

/* For a thread that has not: calls work(arg) on a scratch stack, with 48 KiB of room.  False when
 * all are in use: work was not called. */
bool stack_call_on_scratch(void (*work)(void *arg), void *arg);

/* Calls work(arg) on the stack [base, base + size). */
void stack_call_on(char *base, size_t size, void (*work)(void *arg), void *arg);

/* True when the aligned word around `address` can be read now. A system call. */
bool stack_is_readable(uintptr_t address);

/* True when the address lies on the scratch stack that the calling thread works on. */
bool stack_is_on_scratch(uintptr_t address);
/* Gives back the scratch stack that a siglongjmp left behind. */
void stack_scratch_abandon(void);

#endif
