/* asleep.h - a thread that waits, seen from outside: no test has to guess how long that takes.
 *
 *     hold():  lock, sleeper_tid = 0, start a thread for wait(), work_while_it_sleeps(), unlock
 *     wait():  about_to_wait(), lock ...
 *
 * The waiter does nothing between about_to_wait() and its wait that could make it sleep. */
#ifndef ASLEEP_H
#define ASLEEP_H

#include <sched.h>

#include "victim.h"

enum { WORK_MS = 20 };

static volatile int sleeper_tid;

static inline void about_to_wait(void)
{
    sleeper_tid = gettid();
}

static inline void pause_ms(int ms)
{
    struct timespec left = {0, ms * 1000000L};

    while (nanosleep(&left, &left) < 0)
        continue;
}

/* What /proc says of the thread: 'S' when it sleeps in the kernel. */
static inline char thread_state(int tid)
{
    char path[64], text[256];
    FILE *file;
    size_t n;

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    file = fopen(path, "re");
    check(file != NULL, path);
    n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    return end ? end[2] : '?';
}

/* From the moment on at which the waiter sleeps, WORK_MS. */
static inline void work_while_it_sleeps(void)
{
    while (!sleeper_tid || thread_state(sleeper_tid) != 'S')
        sched_yield();
    pause_ms(WORK_MS);
}

#endif
