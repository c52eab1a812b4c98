/* threadcreate - the threadcreate profile, and the first steps of a new thread.
 *
 * One count per thread that was created, by the stack that created it and the function that it began
 * with.  A new thread begins in the agent for a moment: it gets its record (thread.h), which remembers who made it,
 * and jumps on into the program's function, so that nothing of the agent stays on its stack.  What it
 * needs for that stands in a block that the creator takes from a free list and the new thread
 * gives back; where there is none (memory), the program's function is the thread's first.
 *
 * Any thread, signal-safe; errno is kept. */
#ifndef CPROF_AGENT_THREADCREATE_H
#define CPROF_AGENT_THREADCREATE_H

#include <stdbool.h>
#include <stdint.h>

struct record;

/* A function of the program that a thread begins with. */
struct threadcreate_entry {
    void *(*function)(void *arg); /* or an int (*)(void *), of thrd_create() */
    void *arg;
};

/* One creation, on the stack of the wrapper. */
struct threadcreate {
    struct record *record; /* of the caller's stack; NULL: off, or dropped */
    uint32_t block;        /* number of what the new thread takes; 0: none */
};

/* The calling thread is about to create one, */
struct threadcreate threadcreate_prepare(struct threadcreate_entry entry);
/* and has: it is counted; or could not: the block is free. */
void threadcreate_end(struct threadcreate creation, bool is_created);

/* The first thing that the new thread does: takes what stands in the block, which is free then. */
struct threadcreate_entry threadcreate_begin(uint32_t block);

/* Any time. */
void threadcreate_set_on(bool is_on);

/* ---- the profile (profiles.def) ---- */

uint64_t threadcreate_period(void);
void threadcreate_read(struct record *record, int64_t *ret_values);
void threadcreate_comment(void (*add)(void *arg, const char *line), void *arg);

#endif
