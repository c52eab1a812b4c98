/* unwind - the frames of a stack, from the tables that compilers leave in every object.
 *
 * A cache maps a pc to its rule (cfi.h): one array for the process, filled on a miss, never locked; more of it is used
 * as more is missed.
 * A warm frame is one look-up and two or three loads; a cold one interprets the frame's table entry.
 * Code without tables (JIT) is passed by frame pointers, as far as they are plausible.
 *
 * A stack that belongs to another thread is walked in a copy (unwind_walk_copy): the addresses in it that lie
 * in the original are taken for those in the copy.
 *
 * Only memory that is known to be readable is read: the thread's own stack (stack_is_own), what the kernel
 * confirms of another, and tables inside segments of a loaded object.  Every caller's frame
 * lies above its callee's, except across signal frames and the agent's own stack_switch.
 * A stack that breaks a rule ends there.
 *
 * No lock, no malloc, no descriptor; libc is called for _dl_find_object only, which is lock-free.
 * About 1.5 KiB of stack.  Any thread, signal handlers too.  x86-64 and aarch64, glibc 2.35 and later. */
#ifndef CPROF_AGENT_UNWIND_H
#define CPROF_AGENT_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "base/atomic.h"

/* Where a walk starts.  On aarch64 `bp` is x29 and `bx` is x30, as in cfi.h. */
struct unwind_frame {
    uintptr_t pc, sp, bp, bx;
    uintptr_t
        caller; /* where that frame returns to: tells walks that are remembered apart; 0: not known */
    bool is_exact; /* pc is an instruction to be executed next, not a return address */
    const ucontext_t *context; /* all registers at an exact pc; may be NULL */
};

/* False: not this machine, or an old libc; every walk is empty then. */
bool unwind_is_supported(void);

/* Where the frames above `from` go on, innermost first: return addresses, and what signals interrupted.
 * An interrupted instruction is given as its address + 1, so that address - 1 lies in the function
 * of either: it may be a function's first, or follow a call.  Ends after `max`, at the outermost frame, or where it cannot go
 * on.  With the guard up (thread.h). */
size_t unwind_walk(struct unwind_frame from, uintptr_t *ret_pcs, size_t max);

/* A walk that is remembered, by what decided it: where it began, and the words of the stack that it read on its way.  While
 * they are what they were, so is the walk.  Eight frames are compared in 10 ns instead of walked in 60.
 *
 * The table is the process's; sp tells threads apart.  A walk is kept the second time that it is met in its entry, so that one
 * that comes once costs a store, and never when it did not fit.  A writer holds its entry by an odd `seq`, readers look
 * twice; one that never comes back (siglongjmp, fork) costs the entry. */
enum { UNWIND_WORDS_MAX = 48 };

struct unwind_memo {
    _Atomic uint32_t seq;
    _Atomic uint32_t n_words;  /* 0: nothing is remembered */
    _Atomic uint32_t epoch;    /* of the modules */
    _Atomic uint32_t needs;    /* of the registers at the beginning: UNWIND_NEEDS_BP, _BX */
    _Atomic uint64_t met;      /* key of the last walk that was done here; not under `seq` */
    _Atomic uint64_t too_long; /* key of one that did not fit; not under `seq` */
    _Atomic uintptr_t pc, sp, bp, bx;
    _Atomic uintptr_t low, high; /* what was known of the stack */
    _Atomic uintptr_t result;    /* what the caller made of it */
    _Atomic uintptr_t values[UNWIND_WORDS_MAX];
    _Atomic uint16_t places[UNWIND_WORDS_MAX]; /* of the values: so many words above sp */
};

/* What was made of this very walk before; 0: it has to be done. */
uintptr_t unwind_recall(const struct unwind_frame *from);

/* Does it and keeps it in mind: unwind_remember() must follow.  *ret_memo NULL: it cannot be kept. */
size_t unwind_walk_memo(const struct unwind_frame *from, uintptr_t *ret_pcs, size_t max,
                        struct unwind_memo **ret_memo);
void unwind_remember(struct unwind_memo *memo, uintptr_t result);

/* The same on a copy of a stack: of another thread's, which stood at `from` when it was made. */
struct unwind_copy {
    const char *data; /* aligned to 8 */
    uintptr_t low;    /* where the original begins */
    size_t size;
};
/* *ret_is_cut: the walk came to the end of the copy. */
size_t unwind_walk_copy(struct unwind_frame from, const struct unwind_copy *copy,
                        uintptr_t *ret_pcs, size_t max, bool *ret_is_cut);

/* How a walk would go on from the return address `pc`. */
enum unwind_place {
    UNWIND_BARE, /* to what stands on top of the stack, with all registers as they are; nothing is caught there.
                    aarch64: what stands there is x29 and the return address */
    UNWIND_GUESS, /* there are no tables: by the frame pointer */
    UNWIND_OTHER,
};
enum unwind_place unwind_place_of(uintptr_t pc);

/* For how many pcs the cache has room now. */
size_t unwind_n_rules(void);

#if defined(__x86_64__)

/* The calling function, here. */
static inline __attribute__((always_inline)) struct unwind_frame unwind_here(void)
{
    uintptr_t pc, sp, bp, bx;

    /* In registers: a copy of words that were just stored one by one, two at a time, waits for them.  Where rbx or rbp
     * takes one its old value is on the stack, and the walk reads it there. */
    __asm__ volatile("mov %%rbx, %3\n\t"
                     "mov %%rbp, %2\n\t"
                     "mov %%rsp, %1\n\t"
                     "lea 0f(%%rip), %0\n"
                     "0:"
                     : "=&r"(pc), "=&r"(sp), "=&r"(bp), "=&r"(bx));
    return (struct unwind_frame){
        .pc = pc,
        .sp = sp,
        .bp = bp,
        .bx = bx,
        .caller = (uintptr_t)__builtin_return_address(0),
        .is_exact = true,
    };
}

/* What a signal interrupted. */
static inline struct unwind_frame unwind_interrupted(const ucontext_t *context)
{
    const greg_t *regs = context->uc_mcontext.gregs;

    return (struct unwind_frame){
        .pc = (uintptr_t)regs[REG_RIP],
        .sp = (uintptr_t)regs[REG_RSP],
        .bp = (uintptr_t)regs[REG_RBP],
        .bx = (uintptr_t)regs[REG_RBX],
        .is_exact = true,
        .context = context,
    };
}

#elif defined(__aarch64__)

static inline __attribute__((always_inline)) struct unwind_frame unwind_here(void)
{
    struct unwind_frame frame = {.caller = (uintptr_t)__builtin_return_address(0),
                                 .is_exact = true};

    __asm__ volatile("adr x16, 0f\n\t"
                     "mov x17, sp\n\t"
                     "stp x16, x17, [%4]\n\t"
                     "stp x29, x30, [%4, #16]\n"
                     "0:"
                     : "=m"(frame.pc), "=m"(frame.sp), "=m"(frame.bp), "=m"(frame.bx)
                     : "r"(&frame.pc)
                     : "x16", "x17");
    return frame;
}

static inline struct unwind_frame unwind_interrupted(const ucontext_t *context)
{
    return (struct unwind_frame){
        .pc = context->uc_mcontext.pc,
        .sp = context->uc_mcontext.sp,
        .bp = context->uc_mcontext.regs[29],
        .bx = context->uc_mcontext.regs[30],
        .is_exact = true,
        .context = context,
    };
}

#else

static inline struct unwind_frame unwind_here(void)
{
    return (struct unwind_frame){.pc = 0};
}

#endif

#endif
