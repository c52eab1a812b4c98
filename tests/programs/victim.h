/* victim.h - what the small programs of this folder share.
 *
 * A NAMED function allocates under its own name: it is never inlined, cloned, or left by a tail call. */
#ifndef VICTIM_H
#define VICTIM_H

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __clang__
#define NAMED __attribute__((noinline))
#else
#define NAMED __attribute__((noinline, noclone, noipa))
#endif

/* The compiler can neither drop `p` nor the allocation that made it. */
#define KEEP(p) __asm__ volatile("" : "+r"(p) : : "memory")

/* Hides a number from the compiler. */
static inline size_t opaque(size_t n)
{
    __asm__ volatile("" : "+r"(n));
    return n;
}

/* Where a signal handler interrupted the program. */
static inline uintptr_t interrupted_pc(const void *context)
{
    const ucontext_t *interrupted = (const ucontext_t *)context;
#if defined(__aarch64__)
    return (uintptr_t)interrupted->uc_mcontext.pc;
#else
    return (uintptr_t)interrupted->uc_mcontext.gregs[REG_RIP];
#endif
}

static inline void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "victim: %s: %s\n", what, strerror(errno));
        exit(99);
    }
}

#endif
