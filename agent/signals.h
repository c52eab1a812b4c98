/* signals - the handlers that the agent keeps where the program has none, and how they stay unseen.
 *
 * One signal asks for a snapshot (CPROF_SIGNAL).  The program's own handler wins: once it has brought one (or
 * SIG_IGN) the signal is the program's for good.
 *
 * SIGTERM, SIGINT and SIGHUP, and with CPROF_CRASH those of a crash, have a handler of ours whenever the program
 * has SIG_DFL: it takes the last snapshot, puts SIG_DFL in force and lets the signal kill the process, so that the
 * wait status is the same.  The first process of a pid namespace, which they do not kill, gets none.
 *
 * Whoever asks through sigaction() or signal() reads SIG_DFL where the handler is ours; a system call of its own
 * finds us.  An exec'ed program finds SIG_DFL.  In a vfork child the handlers only do what SIG_DFL does.
 * Signal-safe but for signals_start(). */
#ifndef CPROF_AGENT_SIGNALS_H
#define CPROF_AGENT_SIGNALS_H

#include <signal.h>

#include "agent/config.h"

/* Once: from the constructor, or from the agent's thread when an agent that was off is started. A handler that the
 * program brings meanwhile stays. */
void signals_start(const struct config *config);

/* No handler is ours any more. */
void signals_disarm(void);

/* sigaction() and signal() as the program sees them. */
int signals_sigaction(int number, const struct sigaction *action, struct sigaction *ret_old);
sighandler_t signals_signal(sighandler_t (*real_signal)(int, sighandler_t), int number,
                            sighandler_t handler);

#endif
