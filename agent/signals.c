/* signals - see signals.h. */
#include "agent/signals.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "agent/process.h"
#include "agent/trigger.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/real.h"
#include "base/sys.h"

enum kind { NOT_OURS, SNAPSHOT, FATAL, CRASH };

static _Atomic uint8_t kinds[65]; /* by signal number; 0 again: disarmed */
static _Atomic bool is_taken;     /* the snapshot's signal, by the program */

static enum kind kind_of(int number)
{
    return number > 0 && number < (int)COUNT_OF(kinds) ? (enum kind)load_relaxed(&kinds[number])
                                                       : NOT_OURS;
}

/* ---- the handlers ---- */

static void on_snapshot(int number)
{
    (void)number;
    trigger_snapshot_soon();
}

static void set_default(int number)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    real.sigaction(number, &action, NULL);
}

/* Not by returning: the mask that is in force then (of sigsuspend() for one) may block the signal. */
static void die_of(int number)
{
    const sys_sigset only = (sys_sigset)1 << (number - 1);

    set_default(number);
    sys_tgkill(sys_getpid(), sys_gettid(), number);
    sys_sigmask(SIG_UNBLOCK, &only, NULL);
}

static void on_fatal(int number)
{
    const int saved_errno = errno;

    if (sys_getpid() != 1) {
        trigger_exit();
        die_of(number);
    }
    errno = saved_errno;
}

/* What was not sent happens again when the handler returns. */
static void on_crash(int number, siginfo_t *info, void *context)
{
    const int saved_errno = errno;

    (void)context;
    trigger_exit();
    if (info->si_code <= 0)
        die_of(number);
    set_default(number);
    errno = saved_errno;
}

static struct sigaction our_action(enum kind kind)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    sigfillset(&action.sa_mask);
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    if (kind == CRASH) {
        action.sa_flags |= SA_SIGINFO;
        action.sa_sigaction = on_crash;
    } else {
        action.sa_handler = kind == FATAL ? on_fatal : on_snapshot;
    }
    return action;
}

static bool is_ours(sighandler_t handler)
{
    return handler == on_snapshot || handler == on_fatal ||
           (void (*)(void))handler == (void (*)(void))on_crash;
}

/* ---- what the program sees ---- */

static bool is_default(const struct sigaction *action)
{
    return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_DFL;
}

static void say_taken(int number)
{
    log_info("signal: %d: taken by the program; no snapshots by signal", number);
}

/* Once the program has brought a handler of its own the snapshot's signal is the program's: its SIG_DFL is
 * meant then.  Before, SIG_DFL is what it believes to have, as for the others always. */
static bool keeps_ours(int number, enum kind kind, bool wants_default)
{
    if (kind == SNAPSHOT && !wants_default && !swap_acq_rel(&is_taken, true))
        say_taken(number);
    return wants_default && (kind != SNAPSHOT || !load_relaxed(&is_taken));
}

int signals_sigaction(int number, const struct sigaction *action, struct sigaction *ret_old)
{
    const enum kind kind = kind_of(number);
    struct sigaction old, ours;

    if (kind == NOT_OURS)
        return real.sigaction(number, action, ret_old);
    if (action && keeps_ours(number, kind, is_default(action))) {
        ours = our_action(kind);
        action = &ours;
    }
    const int err = real.sigaction(number, action, &old);
    if (err == 0 && ret_old) {
        if (is_ours(old.sa_handler))
            memset(&old, 0, sizeof old); /* SIG_DFL */
        *ret_old = old;
    }
    return err;
}

sighandler_t signals_signal(sighandler_t (*real_signal)(int, sighandler_t), int number,
                            sighandler_t handler)
{
    const enum kind kind = kind_of(number);
    struct sigaction action, old;

    if (kind == NOT_OURS || handler == SIG_ERR)
        return real_signal(number, handler);
    if (keeps_ours(number, kind, handler == SIG_DFL)) {
        action = our_action(kind);
        real.sigaction(number, &action, &old);
        return is_ours(old.sa_handler) ? SIG_DFL : old.sa_handler;
    }
    const sighandler_t before = real_signal(number, handler);
    return is_ours(before) ? SIG_DFL : before;
}

/* ---- start ---- */

/* Another thread brought its handler while we did, and we have replaced it: that one, or what it set after it, stays. */
static void give_back(int number, struct sigaction theirs)
{
    struct sigaction expected = our_action(kind_of(number)), now;

    while (real.sigaction(number, &theirs, &now) == 0 &&
           now.sa_handler != expected.sa_handler) {
        expected = theirs;
        theirs = now;
    }
}

/* False: the program, or who started it, has something there. */
static bool own(int number, enum kind kind)
{
    const struct sigaction ours = our_action(kind);
    struct sigaction now;

    if (real.sigaction(number, NULL, &now) < 0 || !is_default(&now))
        return false;
    store_relaxed(&kinds[number], (uint8_t)kind);
    if (real.sigaction(number, &ours, &now) < 0)
        return false;
    if (is_default(&now) || is_ours(now.sa_handler))
        return true;
    if (kind == SNAPSHOT)
        store_relaxed(&is_taken, true);
    give_back(number, now);
    return false;
}

static void own_all(const int *numbers, size_t n, enum kind kind)
{
    for (size_t i = 0; i < n; i++)
        if (kind_of(numbers[i]) == NOT_OURS)
            own(numbers[i], kind);
}

void signals_disarm(void)
{
    struct sigaction now;

    for (int number = 1; number < (int)COUNT_OF(kinds); number++) {
        if (kind_of(number) && real.sigaction(number, NULL, &now) == 0 &&
            is_ours(now.sa_handler))
            set_default(number);
        store_relaxed(&kinds[number], NOT_OURS);
    }
}

void signals_start(const struct config *config)
{
    static const int fatal[] = {SIGTERM, SIGINT, SIGHUP};
    static const int crash[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};

    if (config->signal && !own(config->signal, SNAPSHOT))
        say_taken(config->signal);
    if (!trigger_writes_at_exit())
        return;
    if (process_pid() != 1)
        own_all(fatal, COUNT_OF(fatal), FATAL);
    if (config->crash)
        own_all(crash, COUNT_OF(crash), CRASH);
}
