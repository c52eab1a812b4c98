/* trigger - what makes the agent write a snapshot: the signal and the exit.
 *
 * A trigger leaves a request and tries to serve it.  One snapshot at a time: whoever finds one under
 * way leaves the request to that thread, so requests that come together become one.  A signal that
 * interrupts the agent itself is served when the guard goes down (thread.h).
 *
 * The exit takes the last turn and keeps it: it waits for the snapshot under way, serves what was asked
 * for, and no other thread begins one that the end of the process would cut off.
 *
 * The snapshot runs on a stack of its own with all signals blocked; it stops only the thread that it
 * runs on.  In a vfork child nothing is triggered: its memory is its parent's. */
#ifndef CPROF_AGENT_TRIGGER_H
#define CPROF_AGENT_TRIGGER_H

#include <signal.h>

#include "agent/config.h"

/* Installs the signal handler, where the program has none, and the exit handler. */
void trigger_init(const struct config *config);

/* Asks for a snapshot and serves it if nobody else does. Signal-safe, keeps errno. */
void trigger_snapshot(void);

/* Calls job(arg) as a snapshot runs: alone, all signals blocked, on the snapshot's stack.  Waits for its turn, at most
 * 5 s.  0; -EBUSY: it did not come, or the caller is a signal handler inside the agent, or the process ends;
 * -EPERM: vfork child; -ENOMEM.  Keeps errno. */
int trigger_run(void (*job)(void *arg), void *arg);

/* Serves what was asked for while the guard was up. */
void trigger_run_pending(void);

/* sigaction() and signal() as the program sees them: for the agent's signal the program's own handler wins,
 * and from then on the signal is the program's; until then it reads SIG_DFL, and setting that
 * keeps the agent's handler.  Signal-safe. */
int trigger_sigaction(int number, const struct sigaction *action, struct sigaction *ret_old);
sighandler_t trigger_signal(sighandler_t (*real_signal)(int, sighandler_t), int number,
                            sighandler_t handler);

#endif
