/* waiting.h - for victims that need to know that one of their threads waits.
 *
 * The kernel tells which system call a thread is in; no thread has to sleep and hope. */
#ifndef WAITING_H
#define WAITING_H

#include <fcntl.h>
#include <sys/syscall.h>

#include "victim.h"

#ifdef __cplusplus
#include <atomic>
typedef std::atomic<pid_t> atomic_tid;
#else
#include <stdatomic.h>
typedef _Atomic pid_t atomic_tid;
#endif

static inline int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static inline struct timespec after_ns(clockid_t clock, int64_t ns)
{
    struct timespec t;
    clock_gettime(clock, &t);
    ns += t.tv_nsec + t.tv_sec * 1000000000ll;
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}

static inline bool is_in_futex(pid_t tid)
{
    char path[64], text[16] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    /* futex, futex_waitv, and restart_syscall: one with a time limit, after the process was stopped */
    return n > 0 && (!strncmp(text, "202 ", 4) || !strncmp(text, "449 ", 4) ||
                     !strncmp(text, "219 ", 4));
}

/* Returns when the thread whose number is (or will be) in *tid waits. */
static inline void await_waiting(atomic_tid *tid)
{
    while (!atomic_load(tid) || !is_in_futex(atomic_load(tid)))
        sched_yield();
}

static inline void sleep_until(int64_t ns)
{
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static inline void spin_until(int64_t ns)
{
    while (now_ns() < ns)
        ;
}

#endif
