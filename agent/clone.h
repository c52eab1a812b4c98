/* clone - threads that libc does not know of.
 *
 * A bare clone(): its table of descriptors is the process's until it takes one of its own, its signals are blocked as the
 * caller's are, and when its work returns it is gone.  Without TLS of its own it has the caller's, who must touch none meanwhile.
 *
 * Raw system calls.  Signal-safe. */
#ifndef CPROF_AGENT_CLONE_H
#define CPROF_AGENT_CLONE_H

#include <stdint.h>

/* A thread that calls work() at the top of `stack`, with these flags of clone() more (CLONE_SETTLS).  Its tid, also in *tid,
 * which the kernel clears when it has ended; or -errno. */
long clone_start(long more, const char *stack, _Atomic int *tid, const char *tls,
                 void (*work)(void));

/* Waits until the thread `old_tid` is gone, about so long; below 0: however long that takes. */
void clone_wait(_Atomic int *tid, int old_tid, int most_ms);

#endif
