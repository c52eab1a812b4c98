/* process - which process is this?
 *
 * What must start anew in a forked child (its pid, its snapshot numbers, its start time) lives in
 * one page that the kernel wipes on fork (MADV_WIPEONFORK).  So a child notices by one load that it is a
 * child, without atfork handlers and without asking the kernel.  A vfork child shares our memory and
 * finds the parent's page: its own getpid() differs from it, and it must not change a thing.
 *
 * Signal-safe. */
#ifndef CPROF_AGENT_PROCESS_H
#define CPROF_AGENT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"

struct process {
    _Atomic int pid;                /* 0: not asked yet in this process */
    _Atomic uint32_t n_snapshots;   /* numbers given out */
    _Atomic uint64_t start_ns;      /* wall clock, when the agent first ran in this process */
    _Atomic uint64_t start_mono_ns; /* the same moment, clock_mono_ns() */
};

/* Once, from the constructor.  0 or -errno. */
int process_init(void);

/* This process's part of the state; in a forked child freshly filled. */
struct process *process_self(void);
int process_pid(void);

/* True when the parent was started with this library in LD_PRELOAD (what it is told by /proc now; false where that
 * may not be read).  Some system calls. */
bool process_has_preloaded_parent(void);
/* Was our parent told to serve HTTP (CPROF_HTTP), too, or is it gone, so that nobody knows? */
bool process_is_of_serving_tree(void);

/* Since the agent first ran in this process, whoever sets the clock. */
uint64_t process_up_ns(void);

/* How long this process has lived, fork included and exec not; to 10 ms in a forked child. */
uint64_t process_age_ns(void);

/* Threads alive now, the agent's included; 0: /proc does not say. */
uint64_t process_n_threads(void);

/* The directory in which the process is now, with PATH_MAX bytes of room. 0, or -errno: no path leads there. */
int process_directory(char *ret_path);

/* The program has made a child of its own kind (interpose/vfork.S): there may be children that run in its memory.  It
 * stays set. */
HIDDEN extern _Atomic bool process_lends_memory;

/* True in a vfork or CLONE_VM child: it runs in its parent's memory. One system call; thread_is_borrowed() mostly none. */
bool process_is_borrowed(void);

#endif
