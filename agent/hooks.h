/* hooks - calls of named functions between objects, seen on their way.
 *
 * A call from one object into another goes through a slot that the loader fills: a JUMP_SLOT of the caller's
 * PLT, a GLOB_DAT of its GOT, or a function pointer in its data.  hooks_scan() looks through the slots of every
 * loaded object and writes into those of the wanted names the address of an entry (hookcall.S), of which there
 * is one per (name, function that the slot led to, whether that is in the caller's object).  A slot that the loader has not filled yet is filled at once,
 * with the function that the loader would find; a slot in a RELRO page is writable for a moment.
 *
 * Not seen: calls inside an object that the linker bound, pointers from dlsym(), inlined code, objects of
 * other namespaces (dlmopen), what runs before the scan (constructors).
 *
 * What is called on the way (hooks_init) gets a struct hook_call, and must not change a thing for the
 * program: hookcall.S keeps the registers.  An entry that is left by an exception, longjmp or cancellation
 * leaves nothing behind, because all its state is its frame.
 *
 * An object that another thread's dlopen() has listed and not yet relocated is left to that thread's scan.
 *
 * hooks_scan() takes the loader's lock of dl_iterate_phdr(), under which alone the tables of this file change: the
 * constructor and the end of dlopen() call it.  Entries are found without a lock.  x86-64 and aarch64. */
#ifndef CPROF_AGENT_HOOKS_H
#define CPROF_AGENT_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/objects.h"
#include "agent/rules.h"
#include "base/atomic.h"
#include "base/compiler.h"

enum {
    HOOKS_MAX = 1024,
#if defined(__aarch64__)
    HOOK_REGISTERS = 8,
#else
    HOOK_REGISTERS = 6,
#endif
};

enum hook_flags {
    HOOK_BEFORE = 1,  /* look at the call */
    HOOK_AFTER = 2,   /* look at its result */
    HOOK_CALLER = 4,  /* the function asks which object called it */
    HOOK_LOADS = 8,   /* the user's: it loads objects */
    HOOK_INSIDE = 16, /* of an entry: for calls from the object that has the function */
};

/* A function to be seen. */
struct hook_target {
    const char *name;
    uint32_t flags; /* enum hook_flags */
    void *use;      /* the user's */
    _Atomic uint32_t n_slots;
    _Atomic uint32_t n_missed; /* slots that had to be left alone */
    _Atomic(const char *) why; /* ... and the reason of the last one */
    _Atomic bool is_defined;   /* by a loaded object ... */
    _Atomic bool is_optional;  /* ... that not every program has: not libc */
    bool is_reported;          /* the user's */
};

/* One entry.  hookcall.S knows the offsets. */
struct hook {
    const void *_Atomic real;    /* the function */
    const void *_Atomic handler; /* the code of hookcall.S that serves it */
    struct hook_target *_Atomic target;
    uint64_t flags;
};

/* An object that was taken out before the call and may have to go back. */
struct hook_taken {
    const struct rules_action *action;
    struct object object;
};
enum { HOOK_TAKEN_MAX = RULES_PUT_BACK_MAX };

/* A call in progress, in the frame of the entry.  hookcall.S knows the offsets. */
struct hook_call {
    uint64_t registers[HOOK_REGISTERS]; /* integer arguments */
    uint64_t
        others[2]; /* rax (number of vector registers), r10 (static chain); x8 (result), x18 */
    struct hook *hook;
    const uint64_t *stack;       /* the arguments there */
    uint64_t result, result_two; /* rax and rdx, x0 and x1; in hook_after() */
    uint64_t vectors[8][2];      /* xmm0 to xmm7, q0 to q7 */
    uint64_t n_taken;            /* of hook_before(), for hook_after() */
    struct hook_taken taken[HOOK_TAKEN_MAX];
    uint64_t unused; /* a multiple of 16 */
};

/* False: not on this machine. */
bool hooks_is_supported(void);

/* Once, from the constructor, before the first scan.  The targets stay for ever. */
void hooks_init(struct hook_target *targets, size_t n);

/* Looks through what was loaded since the last time.  Keeps errno.  Not signal-safe: dl_iterate_phdr(). */
void hooks_scan(void);

/* ---- for hookcall.S; implemented by the user of the hooks (follow.c) ---- */

/* HOOK_BEFORE: `call` is about to be made; sets call->n_taken. */
void hook_before(struct hook_call *call);
/* HOOK_AFTER: it has returned. */
void hook_after(struct hook_call *call);

/* ---- for hookcall.S ---- */

HIDDEN extern _Atomic size_t hooks_n_returns;
bool hooks_is_known_return(uintptr_t pc);
/* True for an address that hooks_find_return() gave: no frame of the program. */
static inline bool hooks_is_return(uintptr_t pc)
{
    return unlikely(load_relaxed(&hooks_n_returns) != 0) && hooks_is_known_return(pc);
}

/* How many words of stack arguments can be copied from `stack` on, an even number up to 32. */
uint64_t hooks_stack_words(const uint64_t *stack);
/* A return instruction in the object that holds `pc`, with nothing of its function on the stack; 0: none found. */
uintptr_t hooks_find_return(uintptr_t pc);

/* True when `size` bytes at `address` can be read now. */
bool hooks_can_read(uintptr_t address, size_t size);

/* Is there something to be seen? */
bool hooks_are_wanted(void);
/* A seccomp filter that came would kill for it: slots in RELRO pages are left alone from now on. */
void hooks_forbid_mprotect(void);

#endif
