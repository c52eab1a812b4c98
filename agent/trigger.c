/* trigger - see trigger.h. */
#include "agent/trigger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_thread.h"
#include "agent/apart.h"
#include "agent/dump.h"
#include "agent/follow.h"
#include "agent/process.h"
#include "agent/stack.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/real.h"
#include "base/sys.h"
#include "base/text.h"
#include "base/valgrind.h"

/* ---- one snapshot at a time ---- */

enum { SNAPSHOT_STACK_BYTES = 128 << 10 };

static struct lock snapshot_lock;
static char *snapshot_stack GUARDED_BY(snapshot_lock); /* mapped at the first one */
static _Atomic uint32_t requested;                     /* bits of enum dump_reason */
static _Atomic int ending_pid; /* process whose last snapshot is due: nobody else begins one */

static bool has_started; /* false again: disarmed */

static bool is_ending(void)
{
    return load_relaxed(&ending_pid) == process_pid() || !has_started;
}

static bool call_on_own_stack(void (*job)(void *arg), void *arg) NEEDS(snapshot_lock)
{
    if (!snapshot_stack)
        snapshot_stack = arena_map_job(SNAPSHOT_STACK_BYTES);
    if (!snapshot_stack)
        return false;
    /* A program's stack is far away, and drd dies at the end where it was told another one. */
    const uint64_t told = valgrind_is_here() && agent_thread_tid() == sys_gettid()
                              ? valgrind_tell_stack(snapshot_stack, SNAPSHOT_STACK_BYTES)
                              : 0;
    if (!apart_is_wanted() || !apart_call(snapshot_stack, SNAPSHOT_STACK_BYTES, job, arg))
        stack_call_on(snapshot_stack, SNAPSHOT_STACK_BYTES, job, arg);
    if (told)
        valgrind_forget_stack(told);
    return true;
}

static int write_files(uint32_t reasons)
{
    const int n = dump_all(reasons);

    follow_report(reasons & DUMP_EXIT);
    return n;
}

int trigger_write_files(void)
{
    return write_files(DUMP_ASKED);
}

static void run(void *arg)
{
    write_files(*(uint32_t *)arg);
}

static void run_on_own_stack(uint32_t reasons) NEEDS(snapshot_lock)
{
    if (!call_on_own_stack(run, &reasons))
        log_warn_once("snapshot: %s; no snapshot", arena_refusal());
}

/* Requests that arrive while the lock is held find it taken and leave; so look again after it. */
static void serve_requests(void)
{
    uint32_t reasons;

    while (load_relaxed(&requested) && !is_ending() &&
           lock_try(&snapshot_lock, process_pid())) {
        while (!is_ending() && (reasons = swap_acq_rel(&requested, 0)) != 0)
            run_on_own_stack(reasons);
        lock_drop(&snapshot_lock);
    }
}

void trigger_run_pending(void)
{
    const sys_sigset all = ~(sys_sigset)0;
    const int saved_errno = errno;
    sys_sigset old;

    if (process_is_borrowed())
        return;
    sys_sigmask(SIG_SETMASK, &all, &old);
    if (guard_enter()) {
        serve_requests();
        guard_leave();
    } else {
        thread_self.snapshot_pending = 1;
    }
    sys_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved_errno;
}

static void request(uint32_t reason)
{
    atomic_fetch_or_explicit(&requested, reason, memory_order_acq_rel);
}

void trigger_snapshot(void)
{
    request(DUMP_ASKED);
    trigger_run_pending();
}

/* ---- a job of its own ---- */

int trigger_try_run(void (*job)(void *arg), void *arg)
{
    int err = 0;

    if (is_ending() || !guard_enter())
        return -EBUSY;
    if (!lock_try(&snapshot_lock, process_pid())) {
        err = -EAGAIN;
    } else {
        if (!call_on_own_stack(job, arg))
            err = -ENOMEM;
        lock_drop(&snapshot_lock);
        serve_requests(); /* that were left to us */
    }
    guard_leave();
    return err;
}

int trigger_run(void (*job)(void *arg), void *arg)
{
    enum { TRIES = 5000, STEP_NS = 1000000 };
    const sys_sigset all = ~(sys_sigset)0;
    const int saved_errno = errno;
    sys_sigset old;
    int err = process_is_borrowed() ? -EPERM : -EAGAIN;

    for (int i = 0; i < TRIES && err == -EAGAIN; i++) {
        if (i)
            sys_nanosleep_ns(STEP_NS);
        sys_sigmask(SIG_SETMASK, &all, &old);
        err = trigger_try_run(job, arg);
        sys_sigmask(SIG_SETMASK, &old, NULL);
    }
    errno = saved_errno;
    return err == -EAGAIN ? -EBUSY : err;
}

/* ---- on the agent's thread ---- */

static const uint64_t LONGEST_NS =
    INT64_MAX; /* 292 years: a sum with the clock stays in its range */
static uint64_t interval_ns;

static void on_called(struct agent_work *work, int ready)
{
    (void)work;
    (void)ready;
    trigger_run_pending();
}

static void restart_interval(struct agent_work *work)
{
    work->due_ns = clock_mono_ns() + interval_ns;
}

static void on_due(struct agent_work *work, int ready)
{
    (void)ready;
    work->due_ns += interval_ns;
    if (work->due_ns < clock_mono_ns()) /* a process that was stopped has missed some */
        restart_interval(work);
    request(DUMP_TIMED);
    trigger_run_pending();
}

static struct agent_work call_work = {.fd = -1, .run = on_called};
static struct agent_work interval_work = {.fd = -1, .run = on_due, .forked = restart_interval};

void trigger_snapshot_soon(void)
{
    const int saved_errno = errno;

    request(DUMP_ASKED);
    if (process_is_borrowed() || !agent_thread_call(&call_work))
        trigger_run_pending();
    errno = saved_errno;
}

static void start_interval(const struct config *config)
{
    interval_ns = config->interval_ns < LONGEST_NS ? config->interval_ns : LONGEST_NS;
    agent_thread_add(&call_work);
    if (interval_ns) {
        restart_interval(&interval_work);
        agent_thread_add(&interval_work);
    }
}

/* ---- the exit ---- */

static _Atomic int ended_pid; /* process whose last snapshot is through */

/* Another thread may be writing right now, and exit would cut it off.  Ours for good, so that none begins
 * another one.  A snapshot runs with all signals blocked, so its holder is no frame of this thread; it may
 * hang in a dead file system, so there is an end to the waiting.  False: another thread ends the process too,
 * and has written the last one. */
static bool take_last_turn(int pid) UNCHECKED
{
    enum { TRIES = 5000, STEP_NS = 1000000 };

    store_relaxed(&ending_pid, pid);
    for (int i = 0; i < TRIES; i++) {
        if (load_acquire(&ended_pid) == pid) /* pairs with trigger_exit */
            return false;
        if (lock_try(&snapshot_lock, pid))
            return true;
        sys_nanosleep_ns(STEP_NS);
    }
    log_warn("exit: snapshot: another one did not end in 5 s; no last one is written");
    return false;
}

/* Also what another thread asked for and left to the one that was writing. */
static void run_last(void) UNCHECKED
{
    uint32_t reasons = swap_acq_rel(&requested, 0);

    if (dump_is_wanted_at_exit())
        reasons |= DUMP_EXIT;
    if (!reasons)
        return;
    guard_break(); /* exit() from a handler that interrupted the agent */
    if (guard_enter()) {
        run_on_own_stack(reasons);
        guard_leave();
    }
}

void trigger_exit(void)
{
    const sys_sigset all = ~(sys_sigset)0;
    const int saved_errno = errno;
    sys_sigset old;

    if (!has_started || process_is_borrowed())
        return;
    const int pid = process_pid();
    if (load_acquire(&ended_pid) == pid)
        return;
    sys_sigmask(SIG_SETMASK, &all, &old);
    if (take_last_turn(pid)) {
        agent_thread_end();
        run_last();
        store_release(&ended_pid, pid); /* pairs with take_last_turn */
    }
    sys_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved_errno;
}

void trigger_disarm(void)
{
    trigger_exit();
    agent_thread_disarm();
    store_relaxed(&trigger_on_exec, false);
    has_started = false;
}

_Atomic bool trigger_on_exec;

void trigger_exec(void)
{
    const int saved_errno = errno;

    if (process_is_borrowed() || !dump_is_wanted_at_exit())
        return;
    request(DUMP_EXIT);
    trigger_run_pending();
    errno = saved_errno;
}

bool trigger_writes_at_exit(void)
{
    return dump_has_output();
}

static void on_exit_last(void *arg)
{
    (void)arg;
    trigger_exit();
}

static void on_quick_exit_last(void)
{
    trigger_exit();
}

void trigger_start(const struct config *config)
{
    start_interval(config);
    store_relaxed(&trigger_on_exec, config->on_exec);
}

void trigger_init(void)
{
    extern int __cxa_atexit(void (*function)(void *), void *arg, void *library);

    has_started = true;
    /* Without a library to belong to, and before the loader registers its own: so it runs after
     * all other exit handlers and destructors. */
    const bool is_told =
        __cxa_atexit(on_exit_last, NULL, NULL) == 0 && at_quick_exit(on_quick_exit_last) == 0;
    if (!is_told)
        log_warn("exit: handler: %s; no snapshot at exit", text_errno(ENOMEM));
}
