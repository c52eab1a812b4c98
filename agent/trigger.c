/* trigger - see trigger.h. */
#include "agent/trigger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_thread.h"
#include "agent/dump.h"
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

/* ---- one snapshot at a time ---- */

enum { SNAPSHOT_STACK_BYTES = 128 << 10 };

static struct lock snapshot_lock;
static char *snapshot_stack GUARDED_BY(snapshot_lock); /* mapped at the first one */
static _Atomic uint32_t requested;                     /* bits of enum dump_reason */
static _Atomic int ending_pid; /* process whose last snapshot is due: nobody else begins one */

static bool is_ending(void)
{
    return load_relaxed(&ending_pid) == process_pid();
}

static bool call_on_own_stack(void (*job)(void *arg), void *arg) NEEDS(snapshot_lock)
{
    if (!snapshot_stack)
        snapshot_stack = arena_map_job(SNAPSHOT_STACK_BYTES);
    if (snapshot_stack)
        stack_call_on(snapshot_stack, SNAPSHOT_STACK_BYTES, job, arg);
    return snapshot_stack != NULL;
}

static void run(void *arg)
{
    dump_all(*(uint32_t *)arg);
}

static void run_on_own_stack(uint32_t reasons) NEEDS(snapshot_lock)
{
    if (!call_on_own_stack(run, &reasons))
        log_warn_once("snapshot: CPROF_MEMORY: %s; no snapshot", "the cap leaves no room");
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

/* With all signals blocked. -EAGAIN: another one is under way. */
static int run_now(void (*job)(void *arg), void *arg)
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
        err = run_now(job, arg);
        sys_sigmask(SIG_SETMASK, &old, NULL);
    }
    errno = saved_errno;
    return err == -EAGAIN ? -EBUSY : err;
}

/* ---- on the agent's thread ---- */

static uint64_t interval_ns;

static void on_called(struct agent_work *work, int ready)
{
    (void)work;
    (void)ready;
    trigger_run_pending();
}

static void on_due(struct agent_work *work, int ready)
{
    (void)ready;
    work->due_ns += interval_ns;
    if (work->due_ns < clock_mono_ns()) /* a process that was stopped has missed some */
        work->due_ns = clock_mono_ns() + interval_ns;
    request(DUMP_TIMED);
    trigger_run_pending();
}

static void restart_interval(struct agent_work *work)
{
    work->due_ns = clock_mono_ns() + interval_ns;
}

static struct agent_work call_work = {.fd = -1, .run = on_called};
static struct agent_work interval_work = {.fd = -1, .run = on_due, .forked = restart_interval};

static void start_interval(const struct config *config)
{
    if (config->is_off)
        return;
    interval_ns = config->interval_ns;
    agent_thread_add(&call_work);
    if (interval_ns) {
        restart_interval(&interval_work);
        agent_thread_add(&interval_work);
    }
}

/* ---- the signal ---- */

static int own_signal;        /* 0: none */
static _Atomic bool is_taken; /* by the program */

static void on_signal(int number)
{
    (void)number;
    request(DUMP_ASKED);
    if (process_is_borrowed() || !agent_thread_call(&call_work))
        trigger_run_pending();
}

static int install(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    return real.sigaction(own_signal, &action, NULL);
}

static bool is_default(const struct sigaction *action)
{
    return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_DFL;
}

/* Once the program has brought a handler of its own (or SIG_IGN) the signal is the program's for good:
 * its SIG_DFL is meant then.  Before, SIG_DFL is what it believes to have. */
static bool keeps_own_handler(int number, bool wants_default)
{
    if (number != own_signal || load_relaxed(&is_taken))
        return false;
    if (!wants_default)
        store_relaxed(&is_taken, true);
    return wants_default;
}

int trigger_sigaction(int number, const struct sigaction *action, struct sigaction *ret_old)
{
    struct sigaction old;

    if (number != own_signal || number == 0)
        return real.sigaction(number, action, ret_old);
    const int err = action && keeps_own_handler(number, is_default(action))
                        ? real.sigaction(number, NULL, &old)
                        : real.sigaction(number, action, &old);
    if (err == 0 && ret_old) {
        if (old.sa_handler == on_signal) {
            memset(&old, 0, sizeof old);
            old.sa_handler = SIG_DFL;
        }
        *ret_old = old;
    }
    return err;
}

sighandler_t trigger_signal(sighandler_t (*real_signal)(int, sighandler_t), int number,
                            sighandler_t handler)
{
    if (handler != SIG_ERR && keeps_own_handler(number, handler == SIG_DFL))
        return SIG_DFL;
    const sighandler_t old = real_signal(number, handler);
    return old == on_signal ? SIG_DFL : old;
}

static void start_signal(int number)
{
    struct sigaction now;

    if (number == 0)
        return;
    if (real.sigaction(number, NULL, &now) < 0 || !is_default(&now)) {
        log_info("signal: %d: taken by the program; no snapshots by signal", number);
        return;
    }
    own_signal = number;
    install();
}

/* ---- the exit ---- */

/* Another thread may be writing right now, and exit would cut it off.  Ours for good, so that none begins
 * another one.  A snapshot runs with all signals blocked, so its holder is no frame of this thread; it may
 * hang in a dead file system, so there is an end to the waiting. */
static bool take_last_turn(void) UNCHECKED
{
    enum { TRIES = 5000, STEP_NS = 1000000 };
    const int pid = process_pid();

    store_relaxed(&ending_pid, pid);
    for (int i = 0; i < TRIES; i++) {
        if (lock_try(&snapshot_lock, pid))
            return true;
        sys_nanosleep_ns(STEP_NS);
    }
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

static void on_exit_last(void *arg)
{
    const sys_sigset all = ~(sys_sigset)0;
    sys_sigset old;

    (void)arg;
    if (process_is_borrowed())
        return;
    sys_sigmask(SIG_SETMASK, &all, &old);
    const bool is_mine = take_last_turn();
    agent_thread_end();
    if (is_mine)
        run_last();
    else
        log_warn("exit: snapshot: another one did not end in 5 s; no last one is written");
    sys_sigmask(SIG_SETMASK, &old, NULL);
}

void trigger_init(const struct config *config)
{
    extern int __cxa_atexit(void (*function)(void *), void *arg, void *library);

    start_interval(config);
    start_signal(config->is_off ? 0 : config->signal);
    /* Without a library to belong to, and before the loader registers its own: so it runs after
     * all other exit handlers and destructors. */
    __cxa_atexit(on_exit_last, NULL, NULL);
}
