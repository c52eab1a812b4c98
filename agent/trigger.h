/* trigger - what makes the agent write a snapshot: a request, the time, and the end of the process.
 *
 * A trigger leaves a request and tries to serve it.  One snapshot at a time: whoever finds one under
 * way leaves the request to that thread, so requests that come together become one.  A signal that
 * interrupts the agent itself is served when the guard goes down (thread.h).
 *
 * The exit takes the last turn and keeps it: it waits for the snapshot under way, serves what was asked
 * for, and no other thread begins one that the end of the process would cut off.  It comes at the return from
 * main, exit() and quick_exit() (after all handlers of the program), _exit() and the exit_group system call, and before
 * a signal kills (signals.h).
 *
 * The snapshot runs on a stack of its own with all signals blocked; it stops only the thread that it
 * runs on.  In a vfork child nothing is triggered: its memory is its parent's.
 *
 * All but trigger_init() and trigger_start() signal-safe; errno is kept. */
#ifndef CPROF_AGENT_TRIGGER_H
#define CPROF_AGENT_TRIGGER_H

#include <stdbool.h>

#include "agent/config.h"
#include "base/compiler.h"

/* Registers the exit. Once, from the constructor. */
void trigger_init(void);
/* What the settings want besides: CPROF_INTERVAL, CPROF_ON_EXEC.  Once, from the constructor or the agent's thread. */
void trigger_start(const struct config *config);

/* Asks for a snapshot and serves it if nobody else does. */
void trigger_snapshot(void);
/* The same, left to the agent's thread where there is one. */
void trigger_snapshot_soon(void);

/* Calls job(arg) as a snapshot runs: alone, all signals blocked, on the snapshot's stack.  Waits for its turn, at most
 * 5 s.  0; -EBUSY: it did not come, or the caller is a signal handler inside the agent, or the process ends;
 * -EPERM: vfork child; -ENOMEM.  Keeps errno. */
int trigger_run(void (*job)(void *arg), void *arg);

/* The same without waiting, for the agent's thread: -EAGAIN: not now. */
int trigger_try_run(void (*job)(void *arg), void *arg);

/* A snapshot that was asked for, from inside such a job.  Files written, or -errno: not all could be. */
int trigger_write_files(void);

/* Serves what was asked for while the guard was up. */
void trigger_run_pending(void);

/* The process is about to end: the last snapshot. The first call counts; others wait for it. */
void trigger_exit(void);
/* It is about to become another program, or not, if exec fails.  Called while this is set (CPROF_ON_EXEC). */
HIDDEN extern _Atomic bool trigger_on_exec;
HIDDEN void trigger_exec(void);

/* No more snapshots, for ever; first the last one, as at exit. */
void trigger_disarm(void);

/* True when the end of the process may write files. */
bool trigger_writes_at_exit(void);

#endif
