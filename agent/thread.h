/* thread - what the agent knows about each thread.
 *
 * Two parts.  struct thread_self is thread-local: at most 64 bytes of initial-exec TLS, all zero at
 * the start, without destructors, so it works in the first instruction of a thread, in signal handlers and
 * after the thread's other TLS is gone.  struct thread is a record in the arena with what must outlive
 * the moment: who it is and what it counted.  Records are found through one list, never freed, and
 * taken over by a new thread when the old one is dead; counts stay in, because only sums are shown.
 *
 * The guard says that this thread is inside the agent.  Whoever finds it up (a signal handler that
 * interrupted the agent, an allocation that the unwinder makes) does not enter a second time.
 * A handler that leaves the agent by siglongjmp leaves it up; the next entry from a shallower
 * frame notices and takes it down.
 *
 * Everything here is signal-safe and lock-free. */
#ifndef CPROF_AGENT_THREAD_H
#define CPROF_AGENT_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/labels.h"
#include "agent/process.h"
#include "agent/source.h"
#include "agent/wait.h"
#include "base/atomic.h"
#include "base/compiler.h"

/* Why a sample was not kept. */
enum thread_drop {
#define DROP(name, text) DROP_##name,
#include "agent/drops.def"
#undef DROP
    N_DROPS
};

enum { THREAD_SHARDS = 8 };

struct thread {
    struct thread *next; /* in the list of all; constant once published */
    _Atomic int tid;     /* the owner; a dead owner's record may be taken over */
    _Atomic int
        pid; /* and its process: a forked child finds the records of its parent's threads */
    uint32_t shard; /* which of THREAD_SHARDS counters this thread adds to; constant */
    _Atomic int64_t
        held_bytes; /* of heap's total in use, not yet moved there; the owner writes */
    _Atomic int64_t held_limit;         /* it moves from here on; the owner writes */
    _Atomic uint64_t n_kept[N_SOURCES]; /* the owner writes */
    _Atomic uint64_t n_dropped[N_SOURCES][N_DROPS];
    struct label *_Atomic labels[LABELS_PER_THREAD]; /* labels.h */
    struct thread_waits waits;
};

struct thread_self {
    size_t heap_left_bytes; /* countdown to the next heap sample */
    uint64_t random;        /* sampler state; 0: not seeded */
    struct thread *record;  /* NULL until the first slow path */
    uintptr_t guard_frame;  /* frame that raised the guard; 0: down */
    uintptr_t stack_low;  /* of its own stack [stack_low, stack_high) is known to be readable */
    uintptr_t stack_high; /* its top, or 0: nothing is known */
    uintptr_t stack_gap;  /* below it, could not be read; 0: none found */
    uint16_t scratch;     /* number + 1 of the scratch stack in use; 0: none */
    uint16_t doubts; /* how often the kernel is to be asked yet whether this is a vfork child */
    uint32_t snapshot_pending; /* a signal asked for one while the guard was up */
};
_Static_assert(sizeof(struct thread_self) <= 64, "libraries' static TLS is scarce");

extern _Thread_local struct thread_self thread_self
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* ---- whose memory is it?
 *
 * A vfork child runs with its parent's memory, TLS too, and must change nothing in it that is of the process (descriptors,
 * values, settings).  Its pid tells, but asking costs as much as some of what asks: so interpose/vfork.S has the thread doubt
 * before each vfork, and doubts go with as many answers that it is the parent.  One would do, if no signal handler could
 * ask between the doubt and the vfork.  Children of clone() may have TLS of their own: after the first one every thread
 * doubts for good (process_lends_memory).  Those of a system call instruction of the program's own are not seen. */

/* The thread is about to call vfork. */
void thread_begin_vfork(void);

bool thread_ask_borrowed(void);

/* True in a child to which the program has lent its memory. */
static inline bool thread_is_borrowed(void)
{
    return unlikely(thread_self.doubts || load_relaxed(&process_lends_memory)) &&
           thread_ask_borrowed();
}

/* The calling thread's record; NULL when memory is out. */
struct thread *thread_record(void);

/* The same, and surely this process's: not the one that fork copied. */
struct thread *thread_own_record(void);

/* The list of all records, newest first. */
struct thread *thread_first(void);

/* How many records there are: at least as many as threads that needed one were alive at once. */
uint32_t thread_count(void);

/* Makes places for a source that was made at run time. False: no memory. */
bool thread_add_source(uint32_t source);

/* Counts one sample that was kept, or was not. */
void thread_count_kept(uint32_t source);
void thread_count_drop(uint32_t source, enum thread_drop why);
/* The same word that the profile's comments use. */
const char *thread_drop_text(enum thread_drop why);
/* Sums over all threads.  Kept samples of a source made at run time are its profile's to count. */
uint64_t thread_sum_kept(uint32_t source);
uint64_t thread_sum_dropped(uint32_t source, enum thread_drop why);

/* False when this thread is inside the agent already. */
bool guard_enter(void);
/* Also runs the snapshot that a signal asked for meanwhile. */
void guard_leave(void);
/* For the end of the process: what the guard protected is not gone on with. */
void guard_break(void);

#endif
