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

/* Number of a block for the entry; 0: none. */
uint32_t threadcreate_put(struct threadcreate_entry entry);
/* What stands in it; the block is free then.  For the creator whose thread could not be made. */
struct threadcreate_entry threadcreate_take(uint32_t block);
/* The same, as the first thing that the new thread does. */
struct threadcreate_entry threadcreate_begin(uint32_t block);

/* The calling thread has created one. */
void threadcreate_count(const void *function);

/* Once, from the constructor. */
void threadcreate_init(bool is_on);

/* ---- the profile (profiles.def) ---- */

uint64_t threadcreate_period(void);
void threadcreate_read(struct record *record, int64_t *ret_values);
void threadcreate_comment(void (*add)(void *arg, const char *line), void *arg);

#endif
