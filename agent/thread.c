/* thread - see thread.h. */
#include "agent/thread.h"

#include <errno.h>

#include "agent/contention.h"
#include "agent/process.h"
#include "agent/stack.h"
#include "agent/trigger.h"
#include "base/arena.h"
#include "base/sys.h"

_Thread_local struct thread_self thread_self __attribute__((tls_model("initial-exec")));

static struct thread *_Atomic all_threads;
static struct thread *_Atomic next_to_check; /* where the search for dead owners goes on */
static _Atomic uint32_t n_threads;

/* Looks at a few records, going round, and takes over the first whose owner is dead. */
static struct thread *take_over(int tid)
{
    enum { LOOKS = 4 };
    const int pid = process_pid();
    struct thread *thread = load_acquire(&next_to_check); /* pairs with publish below */

    for (int i = 0; i < LOOKS; i++) {
        if (!thread)
            thread = load_acquire(&all_threads); /* pairs with publish below */
        if (!thread)
            return NULL;
        int owner = load_relaxed(&thread->tid);
        if (sys_tgkill(pid, owner, 0) == -ESRCH && cas_acq_rel(&thread->tid, &owner, tid)) {
            labels_forget(thread);
            contention_abandon(thread, load_relaxed(&thread->pid) == pid);
            store_relaxed(&thread->pid, pid);
            return thread;
        }
        thread = thread->next;
    }
    store_release(&next_to_check, thread);
    return NULL;
}

static struct thread *add_record(int tid)
{
    struct thread *thread = arena_alloc(sizeof *thread);

    if (!thread)
        return NULL;
    store_relaxed(&thread->tid, tid);
    store_relaxed(&thread->pid, process_pid());
    thread->shard = add_relaxed(&n_threads, 1) % THREAD_SHARDS;
    thread->next = load_acquire(&all_threads);
    while (!cas_acq_rel(&all_threads, &thread->next, thread)) /* publishes *thread */
        ;
    return thread;
}

struct thread *thread_record(void)
{
    if (likely(thread_self.record != NULL))
        return thread_self.record;
    const int tid = sys_gettid();
    struct thread *thread = take_over(tid);
    thread_self.record = thread ? thread : add_record(tid);
    return thread_self.record;
}

struct thread *thread_own_record(void)
{
    struct thread *thread = thread_self.record;

    if (likely(thread && load_relaxed(&thread->pid) == process_pid()))
        return thread;
    thread_self.record = NULL;
    return thread_record();
}

struct thread *thread_first(void)
{
    return load_acquire(&all_threads); /* pairs with add_record */
}

uint32_t thread_count(void)
{
    return load_relaxed(&n_threads);
}

/* ---- whose memory is it? ---- */

/* The pid is known by then: a child that was the first to ask would leave its own. */
void thread_begin_vfork(void)
{
    enum { DOUBTS = 8 };

    thread_self.doubts = DOUBTS;
    process_self();
}

COLD bool thread_ask_borrowed(void)
{
    if (process_is_borrowed())
        return true;
    if (thread_self.doubts)
        thread_self.doubts--;
    return false;
}

/* ---- samples kept and dropped ---- */

/* Of sources made at run time: all threads count in one place, as drops are rare. */
struct drops {
    _Atomic uint64_t n[N_DROPS];
};

static struct drops *_Atomic made_drops[SOURCES_MADE_MAX] LARGE;

/* Of the others: what threads dropped for which there was no memory either. */
static struct drops unrecorded[N_SOURCES];

bool thread_add_source(uint32_t source)
{
    struct drops *drops = arena_alloc(sizeof *drops);

    store_release(&made_drops[source - N_SOURCES], drops); /* pairs with drops_of */
    return drops != NULL;
}

static struct drops *drops_of(uint32_t source)
{
    return source < N_SOURCES ? &unrecorded[source]
                              : load_acquire(&made_drops[source - N_SOURCES]);
}

void thread_count_kept(uint32_t source)
{
    struct thread *thread = source < N_SOURCES ? thread_record() : NULL;

    if (thread)
        store_relaxed(&thread->n_kept[source], load_relaxed(&thread->n_kept[source]) + 1);
}

void thread_count_drop(uint32_t source, enum thread_drop why)
{
    struct thread *thread = source < N_SOURCES ? thread_record() : NULL;

    add_relaxed(thread ? &thread->n_dropped[source][why] : &drops_of(source)->n[why], 1);
}

const char *thread_drop_text(enum thread_drop why)
{
    static const char *const texts[] = {
#define DROP(name, text) text,
#include "agent/drops.def"
#undef DROP
    };
    return texts[why];
}

uint64_t thread_sum_kept(uint32_t source)
{
    uint64_t sum = 0;

    for (struct thread *t = thread_first(); t && source < N_SOURCES; t = t->next)
        sum += load_relaxed(&t->n_kept[source]);
    return sum;
}

uint64_t thread_sum_dropped(uint32_t source, enum thread_drop why)
{
    uint64_t sum = load_relaxed(&drops_of(source)->n[why]);

    for (struct thread *t = thread_first(); t && source < N_SOURCES; t = t->next)
        sum += load_relaxed(&t->n_dropped[source][why]);
    return sum;
}

/* Stacks grow down: when the caller's frame does not lie below the frame that raised the guard, that
 * frame is gone without having taken it down (siglongjmp), except on a scratch stack or an alternate
 * signal stack, whose addresses say nothing; of one with SS_AUTODISARM the kernel does not know while it is
 * in use, so only the thread's own stack counts.  Others look whether the agent is still on their stack. */
static COLD bool guard_is_stale(uintptr_t frame)
{
    stack_t alternate;

    if (stack_is_on_scratch(frame))
        return false;
    if (frame >= thread_self.guard_frame && stack_is_own(frame) &&
        sys_sigaltstack(NULL, &alternate) == 0 && !(alternate.ss_flags & SS_ONSTACK))
        return true;
    enum { WALK_BYTES = 7 << 10 };
    return stack_has_room(WALK_BYTES) && !stack_is_nested();
}

bool guard_enter(void)
{
    const uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

    if (unlikely(thread_self.guard_frame != 0)) {
        if (!guard_is_stale(frame))
            return false;
        stack_scratch_abandon();
    }
    thread_self.guard_frame = frame;
    compiler_barrier();
    return true;
}

void guard_leave(void)
{
    compiler_barrier();
    thread_self.guard_frame = 0;
    compiler_barrier();
    if (unlikely(thread_self.snapshot_pending)) {
        thread_self.snapshot_pending = 0;
        trigger_run_pending();
    }
}

void guard_break(void)
{
    thread_self.guard_frame = 0;
    thread_self.snapshot_pending = 0;
}
