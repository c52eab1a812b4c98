/* apart - see apart.h. */
#include "agent/apart.h"

#include "agent/clone.h"
#include "agent/process.h"
#include "base/atomic.h"
#include "base/sys.h"

static _Atomic bool is_forbidden;
static _Atomic int tid; /* the kernel clears it when the thread is gone */

/* What the thread is to do; it has a table of its own. */
static struct {
    void (*job)(void *arg);
    void *arg;
    _Atomic bool is_done;
} task;
static _Atomic int here_pid; /* and of this process: another thread may fork meanwhile */

void apart_forbid(void)
{
    store_relaxed(&is_forbidden, true);
}

bool apart_is_here(void)
{
    return load_relaxed(&here_pid) == process_pid();
}

/* Without taking one, even for a moment.  The kernel gives the lowest number that is free: where the highest ones are, there is room.
 * Where they are taken there may be, too; then nothing is lost but the time of a thread. */
bool apart_is_wanted(void)
{
    enum { LOOKED_AT = 64 };
    const int64_t limit = load_relaxed(&is_forbidden) ? -1 : sys_descriptor_limit();
    int n_free = 0;

    for (int64_t fd = limit - 1; fd >= 0 && fd >= limit - LOOKED_AT && n_free < APART_ROOM;
         fd--)
        n_free += sys_fcntl((int)fd, F_GETFD, 0) < 0;
    return limit >= 0 && n_free < APART_ROOM;
}

static void do_task(void)
{
    if (sys_unshare_and_close_from(0) < 0)
        return;
    store_relaxed(&here_pid, process_pid());
    task.job(task.arg);
    store_relaxed(&here_pid, 0);
    store_relaxed(&task.is_done, true);
}

bool apart_call(char *base, size_t size, void (*job)(void *arg), void *arg)
{
    task.job = job;
    task.arg = arg;
    store_relaxed(&task.is_done, false);
    const long started = clone_start(0, base + size, &tid, NULL, do_task);
    if (started < 0)
        return false;
    clone_wait(&tid, (int)started, -1);
    return load_acquire(&task.is_done);
}
