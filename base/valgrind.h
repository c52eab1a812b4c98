/* valgrind - is this program run by it?
 *
 * It translates the program's instructions; some that do nothing together are a question to it, whose answer is in rdx.
 * Written from its documentation of client requests, so that its headers are not needed.
 *
 * Six instructions; any thread, signal-safe. */
#ifndef CPROF_BASE_VALGRIND_H
#define CPROF_BASE_VALGRIND_H

#include <stdbool.h>
#include <stdint.h>

static inline bool valgrind_is_here(void)
{
#if defined(__x86_64__)
    enum { RUNNING_ON_VALGRIND = 0x1001 };
    const uint64_t request[6] = {RUNNING_ON_VALGRIND};
    uint64_t answer = 0;

    __asm__ volatile("rolq $3, %%rdi\n\t"
                     "rolq $13, %%rdi\n\t"
                     "rolq $61, %%rdi\n\t"
                     "rolq $51, %%rdi\n\t"
                     "xchgq %%rbx, %%rbx"
                     : "+d"(answer)
                     : "a"(request)
                     : "cc", "memory");
    return answer != 0;
#else
    return false;
#endif
}

#endif
