/* valgrind - is this program run by it, and what it must know of us.
 *
 * It translates the program's instructions; some that do nothing together are a question to it, whose answer is in rdx.
 * Written from its documentation of client requests, so that its headers are not needed.
 *
 * Six instructions; any thread, signal-safe. */
#ifndef CPROF_BASE_VALGRIND_H
#define CPROF_BASE_VALGRIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0 where valgrind is not, or has no answer. */
static inline uint64_t valgrind_ask(uint64_t question, uint64_t first, uint64_t second)
{
    uint64_t answer = 0;
#if defined(__x86_64__)
    const uint64_t request[6] = {question, first, second};

    __asm__ volatile("rolq $3, %%rdi\n\t"
                     "rolq $13, %%rdi\n\t"
                     "rolq $61, %%rdi\n\t"
                     "rolq $51, %%rdi\n\t"
                     "xchgq %%rbx, %%rbx"
                     : "+d"(answer)
                     : "a"(request)
                     : "cc", "memory");
#else
    (void)question, (void)first, (void)second;
#endif
    return answer;
}

static inline bool valgrind_is_here(void)
{
    enum { RUNNING_ON_VALGRIND = 0x1001 };

    return valgrind_ask(RUNNING_ON_VALGRIND, 0, 0);
}

/* A jump to a stack that it does not know and that lies near the present one it takes for a large frame, and what lies
 * between the two for unused.  What to forget later. */
static inline uint64_t valgrind_tell_stack(const char *base, size_t size)
{
    enum { STACK_REGISTER = 0x1501 };

    return valgrind_ask(STACK_REGISTER, (uintptr_t)base, (uintptr_t)(base + size - 1));
}

static inline void valgrind_forget_stack(uint64_t told)
{
    enum { STACK_DEREGISTER = 0x1502 };

    valgrind_ask(STACK_DEREGISTER, told, 0);
}

#endif
