/* agent_thread - see agent_thread.h. */
#include "agent/agent_thread.h"

#include <errno.h>
#include <limits.h>
#include <linux/sched.h>
#include <pthread.h>
#include <string.h>

#include "agent/clone.h"
#include "agent/process.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/text.h"

static struct agent_work *_Atomic works;

static struct lock start_lock;
static _Atomic int owner_pid;    /* process that started the thread */
static _Atomic int tid;          /* the kernel clears it when the thread is gone */
static _Atomic uint32_t n_calls; /* the thread sleeps on it */
static _Atomic uint32_t n_holds;
static _Atomic bool is_stopping;
static _Atomic uint64_t ended_cpu_ns; /* of the threads before this one, in this process */
static _Atomic bool is_gentle;        /* the stop: works may finish */

/* ---- memory: TLS that reaches from our variables and errno to the head, above a stack ---- */

enum {
    STACK_BYTES = 64 << 10,
    MARGIN_BYTES = 4096, /* around them: also libc's head and what lies next to errno */
    HEAD_BYTES =
        64, /* what x86-64 keeps at the pointer: itself twice, stack and pointer guard */
};

static struct {
    char *base; /* NULL: no thread yet */
    size_t size;
    char *pointer;               /* the thread pointer */
} memory GUARDED_BY(start_lock); /* the last thread's when that is gone */

static char *thread_pointer(void)
{
    char *pointer;

#if defined(__x86_64__)
    __asm__("mov %%fs:0, %0" : "=r"(pointer));
#elif defined(__aarch64__)
    __asm__("mrs %0, tpidr_el0" : "=r"(pointer));
#endif
    return pointer;
}

static void stretch(intptr_t *low, intptr_t *high, const void *variable)
{
    const intptr_t offset = (const char *)variable - thread_pointer();

    *low = offset < *low ? offset : *low;
    *high = offset > *high ? offset : *high;
}

/* The same places from the thread pointer as in this thread. */
static bool map_memory(void) NEEDS(start_lock)
{
    const intptr_t page = 4096;
    intptr_t low = 0, high = 0;

    if (memory.base)
        return sys_madvise(memory.base, memory.size, MADV_DONTNEED) == 0;
    stretch(&low, &high, &thread_self);
    stretch(&low, &high, &errno);
    low = (low - MARGIN_BYTES) / page * page;
    high = (high + MARGIN_BYTES + page) / page * page;
    memory.size = (size_t)(STACK_BYTES - low + high);
    memory.base = arena_map_job(memory.size);
    memory.pointer = memory.base ? memory.base + STACK_BYTES - low : NULL;
    return memory.base != NULL;
}

static void fill_head(void) NEEDS(start_lock)
{
#if defined(__x86_64__)
    enum { TCB = 0, DTV = 1, SELF = 2 };
    uintptr_t *head = (uintptr_t *)(void *)memory.pointer;

    memcpy(head, thread_pointer(), HEAD_BYTES);
    head[TCB] = head[SELF] = (uintptr_t)memory.pointer;
    head[DTV] = 0;
#endif
}

/* ---- the clone ---- */

static void thread_main(void);
static bool is_apart; /* the thread's: it has descriptors of its own */
static uint64_t
    finish_by_ns; /* the thread's: it is to stop, but works may finish until then; 0: not now */
static int own_pipe; /* then: the end it reads; -1: it wakes every 100 ms */

/* Its tid, or -errno. */
static long start_clone(const char *tls) NEEDS(start_lock)
{
    return clone_start(CLONE_SETTLS, memory.base + STACK_BYTES, &tid, tls, thread_main);
}

/* ---- waking it ---- */

enum { READ_END, WRITE_END };

/* The program's, made before a thread is started that polls others; kept over its end, so that nobody writes to
 * a number given away. */
static _Atomic int wake_fd[2] = {-1, -1};
static _Atomic uint64_t wake_inode;

static int copy_higher(int fd, int gap)
{
    static const int places[] = {1000, 500, 200, 100, 50, 20, 3};
    int higher = -EMFILE;

    for (size_t i = 0; i < COUNT_OF(places) && higher < 0; i++)
        higher = sys_fcntl(fd, F_DUPFD_CLOEXEC, places[i] + gap);
    return higher;
}

int agent_thread_move_fd(int fd, int gap)
{
    if (fd < 0)
        return fd;
    int higher = copy_higher(fd, gap);
    if (higher < 0 && gap > 0) /* a limit as low as this */
        higher = copy_higher(fd, 0);
    sys_close(fd);
    return higher;
}

/* The program may have closed it, and have something else under its number. */
static bool is_still_ours(int fd)
{
    struct stat st;

    return fd >= 0 && sys_fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
           st.st_ino == load_relaxed(&wake_inode);
}

static void close_pipe(void)
{
    for (size_t i = 0; i < COUNT_OF(wake_fd); i++) {
        const int fd = swap_acq_rel(&wake_fd[i], -1);
        if (is_still_ours(fd))
            sys_close(fd);
    }
}

/* The read end, made anew when there is none; or -1. */
static int open_pipe(void)
{
    struct stat st;
    int fds[2];

    if (is_still_ours(load_relaxed(&wake_fd[READ_END])) &&
        is_still_ours(load_relaxed(&wake_fd[WRITE_END])))
        return load_relaxed(&wake_fd[READ_END]);
    close_pipe();
    if (sys_pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        fds[i] = agent_thread_move_fd(fds[i], 0);
    if (fds[0] >= 0 && sys_fstat(fds[0], &st) == 0)
        store_relaxed(&wake_inode, st.st_ino);
    store_release(&wake_fd[READ_END], fds[0]);
    store_release(&wake_fd[WRITE_END], fds[1]);
    return fds[0] >= 0 && fds[1] >= 0 ? fds[0] : -1;
}

static bool has_descriptors(void)
{
    for (struct agent_work *work = load_acquire(&works); work; work = work->next)
        if (work->fd >= 0)
            return true;
    return false;
}

/* False: it polls and the program has closed the pipe; it wakes by itself, later. */
static bool wake(void)
{
    add_relaxed(&n_calls, 1);
    sys_futex_wake(&n_calls, 1);
    const int fd = load_acquire(&wake_fd[WRITE_END]); /* pairs with open_pipe */
    if (!is_still_ours(fd))
        return !has_descriptors();
    sys_write(fd, "", 1);
    return true;
}

uint64_t agent_thread_inode(int fd)
{
    if (fd == load_relaxed(&wake_fd[READ_END]) || fd == load_relaxed(&wake_fd[WRITE_END]))
        return load_relaxed(&wake_inode);
    for (const struct agent_work *work = load_acquire(&works); work; work = work->next)
        if (work->fd == fd)
            return work->inode;
    return 0;
}

/* ---- the thread ---- */

static struct pollfd polled[AGENT_THREAD_POLLED_MAX + 1];
static struct agent_work *polled_work[AGENT_THREAD_POLLED_MAX + 1];

/* Fills `polled` from the second place on. Places used. */
static size_t collect_descriptors(void)
{
    size_t n = 1;

    for (struct agent_work *work = load_acquire(&works); work; work = work->next) {
        if (work->fd < 0 || n > AGENT_THREAD_POLLED_MAX)
            continue;
        polled[n] = (struct pollfd){.fd = work->fd, .events = work->events};
        polled_work[n++] = work;
    }
    return n;
}

/* Nanoseconds until the next work is due, or -1: none is. */
static int64_t time_left(void)
{
    const uint64_t now = clock_mono_ns();
    uint64_t next = finish_by_ns;

    for (struct agent_work *work = load_acquire(&works); work; work = work->next)
        if (work->due_ns && (!next || work->due_ns < next))
            next = work->due_ns;
    if (!next)
        return -1;
    return next > now ? (int64_t)(next - now) : 0;
}

/* Sleeps until something is to do; a call that came since `seen` counts. */
static void sleep_until_next(size_t n, uint32_t seen)
{
    enum { BLIND_NS = 100000000 };
    int64_t left = time_left();

    if (n == 1) {
        sys_futex_wait_ns(&n_calls, seen, left);
        return;
    }
    polled[0] = (struct pollfd){.fd = is_apart ? own_pipe : open_pipe(), .events = POLLIN};
    if (load_acquire(&n_calls) != seen)
        left = 0;
    else if (polled[0].fd < 0 && (left < 0 || left > BLIND_NS))
        left = BLIND_NS;
    if (sys_poll_ns(polled, n, left) <= 0)
        for (size_t i = 0; i < n; i++)
            polled[i].revents = 0;
    char bytes[64];
    if (polled[0].revents & POLLIN && is_still_ours(polled[0].fd))
        while (sys_read(polled[0].fd, bytes, sizeof bytes) == sizeof bytes)
            ;
    if (is_apart && polled[0].revents & (POLLHUP | POLLERR | POLLNVAL)) {
        sys_close(own_pipe); /* the program has closed the end that it writes to */
        own_pipe = -1;
    }
}

static bool must_stop(void)
{
    return load_acquire(&is_stopping) && !finish_by_ns; /* pairs with agent_thread_end */
}

static void run_ready(size_t n)
{
    for (size_t i = 1; i < n && !must_stop(); i++)
        if (polled[i].revents && polled_work[i]->fd == polled[i].fd)
            polled_work[i]->run(polled_work[i], polled[i].revents);
}

static void run_due(void)
{
    const uint64_t now = clock_mono_ns();

    for (struct agent_work *work = load_acquire(&works); work && !must_stop();
         work = work->next) {
        const bool is_called =
            load_relaxed(&work->is_called) && swap_acq_rel(&work->is_called, false);
        if (is_called || (work->due_ns && work->due_ns <= now))
            work->run(work, 0);
    }
}

static void run_round(void)
{
    const uint32_t seen = load_acquire(&n_calls);

    run_due();
    if (must_stop())
        return;
    const size_t n = collect_descriptors();
    sleep_until_next(n, seen);
    run_ready(n);
}

/* ---- its end ---- */

/* Is something under way that may still end by itself? */
static bool ask_to_finish(uint64_t until_ns)
{
    bool is_busy = false;

    for (struct agent_work *work = load_acquire(&works); work; work = work->next)
        if (work->finish)
            is_busy |= work->finish(work, until_ns);
    return is_busy;
}

static void call_finished(void)
{
    for (struct agent_work *work = load_acquire(&works); work; work = work->next)
        if (work->finish)
            store_release(&work->is_called, true); /* pairs with run_due */
}

/* A client that takes all of the time makes every change of identity that slow: so not again for a while. */
static void finish_works(void)
{
    enum { FINISH_NS = 50000000, PAUSE_NS = 1000000000 };
    static uint64_t paused_until_ns;
    const uint64_t until_ns = clock_mono_ns() + FINISH_NS;

    if (until_ns - FINISH_NS >= paused_until_ns) {
        finish_by_ns = until_ns;
        while (ask_to_finish(until_ns) && clock_mono_ns() < until_ns)
            run_round();
        finish_by_ns = 0;
        if (clock_mono_ns() >= until_ns)
            paused_until_ns = until_ns + PAUSE_NS;
    }
    ask_to_finish(0);
    call_finished();
}

/* ---- its beginning ---- */

static bool is_kept(int fd)
{
    struct stat st;

    if (fd == load_relaxed(&wake_fd[WRITE_END]))
        return false; /* the program's: so its end is seen when the program closes it */
    const uint64_t inode = agent_thread_inode(fd);
    return inode && sys_fstat(fd, &st) == 0 && st.st_ino == inode;
}

/* The highest one below `limit` that it takes along, or -1. */
static int highest_kept(int limit)
{
    int fd = load_relaxed(&wake_fd[READ_END]);

    fd = fd < limit && has_descriptors() && is_kept(fd) ? fd : -1;
    for (struct agent_work *work = load_acquire(&works); work; work = work->next)
        if (work->fd > fd && work->fd < limit && is_kept(work->fd))
            fd = work->fd;
    return fd;
}

/* The files that it opens and the connections it accepts take no number away from the program.  From the top, so that
 * what is above is not even copied. */
static void leave_descriptors(void)
{
    int limit = INT_MAX, kept = highest_kept(limit);
    const int pipe = load_relaxed(&wake_fd[READ_END]);

    is_apart = sys_unshare_and_close_from((unsigned)kept + 1) == 0;
    own_pipe = is_apart && has_descriptors() && is_kept(pipe) ? pipe : -1;
    while (is_apart && (limit = kept) > 0) {
        kept = highest_kept(limit);
        if (kept + 1 < limit)
            sys_close_range((unsigned)kept + 1, (unsigned)limit - 1);
    }
}

static void thread_main(void)
{
    leave_descriptors();
    sys_set_thread_name("cprof");
    while (!must_stop())
        run_round();
    if (load_relaxed(&is_gentle) &&
        is_apart) /* else the next thread has the same descriptors */
        finish_works();
    add_relaxed(&ended_cpu_ns, clock_read_ns(CLOCK_THREAD_CPUTIME_ID));
}

uint64_t agent_thread_cpu_ns(void)
{
    return load_relaxed(&ended_cpu_ns) + clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* ---- starting and ending it ---- */

bool agent_thread_is_running(void)
{
    return load_acquire(&tid) && load_relaxed(&owner_pid) == process_pid();
}

int agent_thread_tid(void)
{
    return agent_thread_is_running() ? load_relaxed(&tid) : 0;
}

bool agent_thread_is_apart_here(void)
{
    return agent_thread_tid() == sys_gettid() && is_apart;
}

void agent_thread_add(struct agent_work *work)
{
    work->next = load_relaxed(&works);
    while (!cas_acq_rel(&works, &work->next, work)) /* pairs with the thread's loads */
        ;
}

bool agent_thread_is_wanted(void)
{
    for (struct agent_work *work = load_acquire(&works); work; work = work->next)
        if (work->fd >= 0 || work->due_ns)
            return true;
    return false;
}

/* What a thread of the parent left behind: its descriptors are the child's too. */
static void forget_parents(void)
{
    const int pid = process_pid();

    if (load_relaxed(&owner_pid) == pid)
        return;
    close_pipe();
    store_relaxed(&tid, 0);
    store_relaxed(&n_holds, 0);
    store_relaxed(&ended_cpu_ns, 0);
    store_relaxed(&owner_pid, pid);
}

static void end_running(bool gently)
{
    enum { WAIT_MS = 5000 };
    const int old_tid = load_acquire(&tid);

    if (!old_tid)
        return;
    store_relaxed(&is_gentle, gently);
    store_release(&is_stopping, true); /* pairs with must_stop */
    wake();
    clone_wait(&tid, old_tid, WAIT_MS);
}

/* A hold that has not waited for us to its end finds the thread gone before it may change anything: the program's
 * setuid() waits for every thread, also for this one, to unblock its signals. */
static int start_locked(void) NEEDS(start_lock)
{
    const sys_sigset all = ~(sys_sigset)0;
    sys_sigset old;

    if (!map_memory())
        return -ENOMEM;
    fill_head();
    if (has_descriptors())
        open_pipe();
    store_relaxed(&is_stopping, false);
    sys_sigmask(SIG_SETMASK, &all, &old);
    long err = start_clone(memory.pointer);
    if (err >= 0 && load_acquire(&n_holds)) {
        end_running(false);
        err = -ECANCELED;
    }
    sys_sigmask(SIG_SETMASK, &old, NULL);
    return err < 0 ? (int)err : 0;
}

static _Atomic bool is_forbidden;

void agent_thread_forbid(void)
{
    store_relaxed(&is_forbidden, true);
}

bool agent_thread_is_forbidden(void)
{
    return load_relaxed(&is_forbidden);
}

/* -EBUSY: somebody else is starting it; -ECANCELED: it is held. */
static int try_start(void)
{
    int err = -ECANCELED;

    if (!lock_try(&start_lock, process_pid()))
        return -EBUSY;
    if (load_relaxed(&tid))
        err = 0;
    else if (!load_relaxed(&n_holds))
        err = start_locked();
    lock_drop(&start_lock);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with agent_thread_release */
    return err;
}

bool agent_thread_start(void)
{
    int err;

    if (load_relaxed(&is_forbidden) || !load_acquire(&works) || process_is_borrowed() ||
        !agent_thread_is_wanted())
        return false;
    forget_parents();
    do
        err = try_start();
    while (err == -ECANCELED && !load_relaxed(&n_holds));
    if (err < 0 && err != -ECANCELED && err != -EBUSY)
        log_warn_once("thread: clone: %s; no snapshots by time and no HTTP", text_errno(-err));
    return err == 0;
}

bool agent_thread_call(struct agent_work *work)
{
    if (!agent_thread_is_running() || load_relaxed(&is_stopping))
        return false;
    store_release(&work->is_called, true); /* pairs with run_due */
    return wake();
}

/* A start under way in another thread; in this one a signal interrupted it, so not for long. */
static void wait_for_starter(void)
{
    enum { TRIES = 20, STEP_NS = 500000 };

    for (int i = 0; i < TRIES; i++) {
        if (lock_try(&start_lock, process_pid())) {
            lock_drop(&start_lock);
            return;
        }
        sys_nanosleep_ns(STEP_NS);
    }
}

static void tell_works(void)
{
    if (!lock_try(&start_lock, process_pid()))
        return;
    for (struct agent_work *work = load_acquire(&works); work && !load_acquire(&tid);
         work = work->next)
        if (work->held)
            work->held(work);
    lock_drop(&start_lock);
}

static void stop(bool gently)
{
    if (!load_acquire(&works) || process_is_borrowed())
        return;
    forget_parents();
    add_relaxed(&n_holds, 1);
    wait_for_starter();
    end_running(gently);
}

void agent_thread_end(void)
{
    stop(false);
}

void agent_thread_hold(void)
{
    const bool was_running = agent_thread_is_running();

    stop(true);
    if (was_running)
        tell_works();
}

void agent_thread_release(void)
{
    if (!load_acquire(&works) || process_is_borrowed())
        return;
    sub_relaxed(&n_holds, 1);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with try_start */
    agent_thread_start();
}

void agent_thread_disarm(void)
{
    store_relaxed(&works, NULL);
}

/* ---- fork ---- */

static void on_forked(void)
{
    const int saved_errno = errno;

    forget_parents();
    for (struct agent_work *work = load_acquire(&works); work; work = work->next) {
        store_relaxed(&work->is_called, false);
        if (work->forked)
            work->forked(work);
    }
    agent_thread_start();
    errno = saved_errno;
}

void agent_thread_init(void)
{
    pthread_atfork(NULL, NULL, on_forked);
}
