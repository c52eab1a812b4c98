/* agent_thread - the one thread of the agent's own, there only while something needs it.
 *
 * What it does is registered as works: a function that is run when its time has come, when its descriptor is
 * ready, or when somebody calls for it.  Works are registered once and stay; after that their fields are
 * the thread's, which sleeps in between.
 *
 * The thread is a bare clone() that libc does not know of: libc keeps its single-thread paths, setuid() signals
 * no helper, and pthread_exit() of the program's last thread ends the process.  Its TLS is zero but for
 * the head (agent_thread.c), so it may use this agent's variables, errno and functions on memory, and must call
 * nothing else of libc: no wrapped function, no lock, no malloc.  All signals are blocked, so none that
 * is meant for the program ends here; it takes no samples and has no thread record.
 *
 * The thread has a table of descriptors of its own (Linux 5.9) into which it takes what the works have at its start:
 * the files that a snapshot opens and the connections that are accepted get no number that the program could have
 * got, and the program's closefrom() does not reach them.  With a thread that ends (hold) they end, so its works have
 * 50 ms to bring to an end what is under way (`finish`); in the second after one that took all of them, none.  What was
 * there before it started stands in the program's table, too, and is taken along by the next one.
 *
 * fork: the child has none; one is started again there, as the works want, once they were told (`forked`).
 * Exit: trigger.c ends it before the last snapshot.  Two descriptors for waking it exist only when
 * it polls others: from 1000 on, close-on-exec; when the program closes them it wakes every 100 ms instead.
 *
 * Signal-safe where nothing else is said. */
#ifndef CPROF_AGENT_AGENT_THREAD_H
#define CPROF_AGENT_AGENT_THREAD_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"

struct agent_work {
    int fd; /* polled while >= 0 */
    uint64_t
        inode;    /* behind fd: the program may have closed it and have something else there */
    short events; /* POLLIN, POLLOUT */
    uint64_t due_ns; /* of clock_mono_ns(); 0: not by time */
    /* On the agent thread.  ready: what poll said (POLLNVAL: the program closed it); 0: it was due or called. */
    void (*run)(struct agent_work *work, int ready);
    /* On the agent thread, before a hold ends it and with it the descriptors that it opened: true while something is
     * under way that may end by itself until then (clock_mono_ns(); 0: no more time, have it end now).  The next
     * thread runs the work when it starts.  Or NULL. */
    bool (*finish)(struct agent_work *work, uint64_t until_ns);
    /* In a forked child, before the thread is started there: drop what is the parent's.  Or NULL. */
    void (*forked)(struct agent_work *work);
    /* The thread has ended, for the moment, and what was in its table only has gone with it.  While the program has the
     * rights that it may be about to give up.  On any thread, one at a time.  Or NULL. */
    void (*held)(struct agent_work *work);
    struct agent_work *next; /* from here on: agent_thread.c's */
    _Atomic bool is_called;
};

/* How many works may have a descriptor at the same time; the rest is not polled. */
enum { AGENT_THREAD_POLLED_MAX = 64 };

/* Once, from the constructor, when a work may be added. Not signal-safe. */
void agent_thread_init(void);

/* From the constructor or the agent thread.  `work` is static and has fd = -1 when it has none. */
void agent_thread_add(struct agent_work *work);

/* Starts it when a work has a descriptor or a time, unless it runs already or is held.  False: it does not run. */
bool agent_thread_start(void);
bool agent_thread_is_running(void);
/* Its tid, or 0: for whoever goes through the process's threads. */
int agent_thread_tid(void);
/* True on it, when it has a table of descriptors of its own. */
bool agent_thread_is_apart_here(void);

/* CPU time of it and of those before it in this process.  On the agent thread. */
uint64_t agent_thread_cpu_ns(void);

/* Has the work run soon, with ready 0.  False: there is no thread, or the program has closed what wakes it. */
bool agent_thread_call(struct agent_work *work);

/* Ends it, gently, and waits for that, 5 s at most; release starts it again.  Around calls that want a process of one
 * thread, or change what all threads must agree on.  Not from the agent thread. */
void agent_thread_hold(void);
void agent_thread_release(void);
/* Once and for ever, at exit; in children that are forked later it can be started again. */
void agent_thread_end(void);
/* Does a work have a descriptor or a time? */
bool agent_thread_is_wanted(void);
/* A seccomp filter that came would kill another one: this is the last. */
void agent_thread_forbid(void);
bool agent_thread_is_forbidden(void);
/* For ever, there too. */
void agent_thread_disarm(void);

/* The inode of the works' descriptor of this number, or of one that wakes the thread; 0: neither.  What has it and
 * stands in the program's table is ours, and no profile shows it. */
uint64_t agent_thread_inode(int fd);

/* A descriptor moved to 1000 + gap or above, close-on-exec, the old one closed; where the limit of descriptors is
 * lower (1024 in most shells), to 500 + gap and so on, as high as it goes.  Or -errno. */
int agent_thread_move_fd(int fd, int gap);

#endif
