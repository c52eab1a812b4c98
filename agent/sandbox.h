/* sandbox - programs that forbid themselves system calls, and are killed for one that we make.
 *
 * Before a seccomp filter comes into force it is run, as the kernel would, over the calls of the agent (with
 * arguments of 0: a filter that looks at them is guessed).  When it kills or signals for one of them, what needs the
 * call is given up for good, for all threads, which is said in a line: sockets' labels, the list of descriptors,
 * rules, the agent's thread; for most calls it is the agent, which writes its last snapshot now.  A filter that
 * only refuses is harmless, as every failure is expected anyway, unless it is getpid() or the signal mask.
 *
 * The agent's thread is under the filter when that is for all threads; else it goes on, and once it has ended no other
 * is started, because that would inherit the filter of whoever starts it.  An agent that is off is looked after like
 * one that is on where HTTP could start it.
 *
 * Not seen: filters that were there at the start, and those that are installed by a system call of the program's
 * own.  Any thread. */
#ifndef CPROF_AGENT_SANDBOX_H
#define CPROF_AGENT_SANDBOX_H

#include <stdbool.h>

struct sock_fprog;

/* prctl(PR_SET_SECCOMP, mode, filter) and seccomp(2) are about to be called.  One at an address that the kernel
 * cannot read does nothing: with NULL, libseccomp and qemu ask what the kernel knows.
 * all_threads: it is for them, too (SECCOMP_FILTER_FLAG_TSYNC). */
void sandbox_enter(const struct sock_fprog *filter, bool all_threads);
/* The same for the mode in which only read, write and exit remain. */
void sandbox_enter_strict(void);

#endif
