/* apart - a snapshot when the program has no descriptors left.
 *
 * That is when somebody wants to know who opened them.  The files that a snapshot opens must not take the last numbers
 * from the program, and the limit is not ours to raise.  So where fewer than APART_ROOM are free the job is done by a thread that
 * exists for it alone and has a table of descriptors of its own, an empty one (Linux 5.9), as the agent's thread has
 * (agent_thread.h); none of the program's is copied for it, so what is closed meanwhile is closed.  The caller waits, with
 * all signals blocked; the thread has its TLS, so guard and record are the caller's.
 *
 * One at a time, with the snapshot.  Signal-safe. */
#ifndef CPROF_AGENT_APART_H
#define CPROF_AGENT_APART_H

#include <stdbool.h>
#include <stddef.h>

enum { APART_ROOM = 8 };

/* It is not sure that APART_ROOM numbers are free, and it is not forbidden. */
bool apart_is_wanted(void);

/* Calls job(arg) on that thread, on this stack, and waits for its end.  False: there can be none, it was not called. */
bool apart_call(char *base, size_t size, void (*job)(void *arg), void *arg);

/* True in a job that has a table of its own. */
bool apart_is_here(void);

/* A seccomp filter that came would kill for it. */
void apart_forbid(void);

#endif
