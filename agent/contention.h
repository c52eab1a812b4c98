/* contention - the mutex and block profiles: who holds, who waits.
 *
 * A wrapper that is about to wait calls contention_begin(), then the real function, then contention_end().
 * Block charges the waiting time to the stack that waited.  Mutex charges it to the stack whose unlock
 * ended it: the wrapper of an unlock asks holders.h what is due, unlocks, and gives that to
 * contention_on_release().  What is due to nobody (the time between the release and being awake) is shown
 * as [wakeup], so that at rate 1 both profiles add up to the same.
 *
 * Sampling: an event of d ns is kept when d >= rate, else with the probability d / rate, and then counts as
 * rate / d events of `rate` ns in sum: unbiased in count and delay (Poisson sampling, Horvitz and Thompson
 * 1952).  With a mutex fraction n it is one of n.  Stacks that are met again are recognised (unwind.h) and charged
 * however often; of others a thread walks at most 1000 a second for each profile, but for rate 1, and the weight of
 * those that would be too many is carried on to its next one.
 *
 * No stack is taken while the program holds the lock that is waited for: the stack of a lock's waiter is taken
 * before it waits, that of the holder after the release.  A condition's waiter holds its mutex before and
 * after: there it is taken after, and only when it is kept.
 *
 * Waits in progress are found through the thread records and unwound from outside at the snapshot.  A thread that is
 * cancelled in a wait, or leaves it by pthread_exit() or an exception, is unwound, and the unwinder tells us; what
 * a siglongjmp left behind is told by the kernel's word on where the thread is.
 *
 * Any thread, signal-safe; errno is kept. */
#ifndef CPROF_AGENT_CONTENTION_H
#define CPROF_AGENT_CONTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unwind.h>

#include "agent/holders.h"
#include "agent/profile.h"
#include "agent/unwind.h"
#include "agent/wait.h"
#include "base/atomic.h"
#include "base/compiler.h"

enum { CONTENTION_UNIT = 4096 }; /* one event; counts have fractions */

/* ---- what the wrappers report ---- */

/* One call that waits, on the stack of its wrapper. */
struct contention {
    int64_t start_ns;    /* 0: not measured */
    int64_t charge_ns;   /* a condition's: for releasing its mutex */
    struct stack *stack; /* of a lock's waiter; NULL: not taken */
    struct thread *thread;
    uintptr_t sp_before; /* what stood in its place */
    uint32_t place;      /* in the thread's waits; WAITS_NESTED: none */
    enum wait_kind kind;
};

enum contention_result {
    CONTENTION_GOT_IT,
    CONTENTION_GAVE_UP, /* timed out, or left by cancellation: it has waited */
    CONTENTION_FAILED,  /* returned at once: no event */
    CONTENTION_LEFT,    /* by siglongjmp, who knows when: no event, and owed for no longer */
};

/* Is any of the two profiles on? */
HIDDEN extern _Atomic bool contention_is_on;

/* Bits of a rwlock's word that make its unlock worth a look: a writer's; once a wait for a lock was given up, all, for then
 * a lock that nobody waits for may still be owed for. */
HIDDEN extern _Atomic uint32_t contention_rwlock_bits;

/* `lock`: whose holder is to be charged; NULL: nobody. */
void contention_begin_at(struct contention *wait, enum wait_kind kind,
                         const volatile void *lock, const struct unwind_frame *from);
void contention_end_of(struct contention *wait, enum contention_result result,
                       const struct unwind_frame *from);

/* Whoever unwinds the stack passes a wrapper's frame: its wait is over.  No function calls this; it stands in the
 * unwind tables, as what C++ calls the frame's personality. */
HIDDEN _Unwind_Reason_Code contention_unwound(int version, _Unwind_Action actions,
                                              _Unwind_Exception_Class exception_class,
                                              struct _Unwind_Exception *exception,
                                              struct _Unwind_Context *context);

/* Inlined, all three: a stack is found from the wrapper's frame, also from outside while the wait is in progress. */
static inline __attribute__((always_inline)) void
contention_begin(struct contention *wait, enum wait_kind kind, const volatile void *lock)
{
    const struct unwind_frame from = unwind_here();

    /* Of the function that this is inlined into; 0x1b: relative to here, 4 bytes. */
    __asm__ volatile(".cfi_personality 0x1b, contention_unwound");
    wait->start_ns = 0;
    if (load_relaxed(&contention_is_on))
        contention_begin_at(wait, kind, lock, &from);
}

static inline __attribute__((always_inline)) void contention_end(struct contention *wait,
                                                                 enum contention_result result)
{
    if (wait->start_ns) {
        const struct unwind_frame from = unwind_here();
        contention_end_of(wait, result, &from);
    }
}

/* `lock` is about to be released: what its holder owes. */
static inline bool contention_is_awaited(const volatile void *lock)
{
    return load_relaxed(&contention_is_on) && holders_is_awaited(lock);
}
int64_t contention_charge(const volatile void *lock);
/* And now it is released; `charge_ns` may be 0. */
void contention_on_release_from(int64_t charge_ns, const struct unwind_frame *from);

static inline __attribute__((always_inline)) void contention_on_release(int64_t charge_ns)
{
    if (charge_ns > 0) {
        const struct unwind_frame from = unwind_here();
        contention_on_release_from(charge_ns, &from);
    }
}

/* The calling thread's number as the kernel gives it. */
int contention_tid(void);

/* The owner of a thread record is gone and did not end its waits; false: it was a thread of a parent process. */
void contention_abandon(struct thread *thread, bool is_same_process);

/* ---- control ---- */

/* Once, from the constructor; not where the libc's locks are unknown (lockwords.h). */
void contention_init(uint64_t block_rate_ns, uint64_t mutex_rate_ns, uint64_t mutex_fraction);

/* Mean ns of waiting per sample; 1: every event, 0: off, what was recorded stays.  Return the previous one;
 * without contention_init() they do nothing and return 0. */
uint64_t contention_set_block_rate(uint64_t rate_ns);
uint64_t contention_set_mutex_rate(uint64_t rate_ns);
/* One of `n` releases instead; 0: the rate is in force. */
uint64_t contention_set_mutex_fraction(uint64_t n);
uint64_t contention_block_rate(void);
uint64_t contention_mutex_rate(void);

/* Has this source (source.h) ever been switched on, by a setting or by the program? */
bool contention_was_on(int source);

/* ---- the profiles (profiles.def) ---- */

#define mutex_period NULL
void mutex_read(struct record *record, int64_t *ret_values);
void mutex_comment(void (*add)(void *arg, const char *line), void *arg);
void mutex_current(const struct profile_current *current);
#define block_period NULL
#define block_read   mutex_read
void block_comment(void (*add)(void *arg, const char *line), void *arg);
void block_current(const struct profile_current *current);
size_t mutex_current_max(void);
#define block_current_max mutex_current_max
const char *block_tag_text(uint64_t tag);

#endif
