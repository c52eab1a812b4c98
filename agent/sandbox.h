/* sandbox - programs that forbid themselves system calls, and are killed for one that we make.
 *
 * Before a seccomp filter comes into force it is run, as the kernel would, over the calls of the agent (with
 * arguments of 0: a filter that looks at them is guessed).  When it kills or signals for one of them, the last
 * snapshot is written now and the agent switches itself off for good, which is said in one line.  A filter that
 * only refuses is harmless, as every failure is expected anyway, unless it is getpid() or the signal mask.
 *
 * Not seen: filters that were there at the start, and those that are installed by a system call of the program's
 * own.  Any thread. */
#ifndef CPROF_AGENT_SANDBOX_H
#define CPROF_AGENT_SANDBOX_H

struct sock_fprog;

/* prctl(PR_SET_SECCOMP, mode, filter) and seccomp(2) are about to be called; filter NULL: only read, write and
 * exit remain. */
void sandbox_enter(const struct sock_fprog *filter);

#endif
