/* clone - see clone.h. */
#include "agent/clone.h"

#include <linux/sched.h>

#include "agent/process.h"
#include "base/atomic.h"
#include "base/sys.h"

long clone_start(long more, const char *stack, _Atomic int *tid, const char *tls,
                 void (*work)(void))
{
    const long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                       CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | more;
#if defined(__x86_64__)
    long ret;
    register long r10 __asm__("r10") = (long)tid;
    register long r8 __asm__("r8") = (long)tls;
    register long r9 __asm__("r9") = (long)work;

    __asm__ volatile("syscall\n"
                     "    test %%rax, %%rax\n"
                     "    jnz 1f\n"
                     "    .cfi_remember_state\n"
                     "    .cfi_undefined %%rip\n"
                     "    xor %%ebp, %%ebp\n"
                     "    call *%%r9\n"
                     "    xor %%edi, %%edi\n"
                     "    mov %[exit], %%eax\n"
                     "    syscall\n"
                     "    .cfi_restore_state\n"
                     "1:\n"
                     : "=a"(ret)
                     : "a"(SYS_clone), "D"(flags), "S"(stack), "d"(tid), "r"(r10), "r"(r8),
                       "r"(r9), [exit] "i"(SYS_exit)
                     : "rcx", "r11", "memory");
    return ret;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = flags;
    register long x1 __asm__("x1") = (long)stack;
    register long x2 __asm__("x2") = (long)tid;
    register long x3 __asm__("x3") = (long)tls;
    register long x4 __asm__("x4") = (long)tid;
    register long x9 __asm__("x9") = (long)work;

    __asm__ volatile("svc 0\n"
                     "    cbnz x0, 1f\n"
                     "    .cfi_remember_state\n"
                     "    .cfi_undefined x30\n"
                     "    mov x29, xzr\n"
                     "    blr x9\n"
                     "    mov x0, xzr\n"
                     "    mov x8, %[exit]\n"
                     "    svc 0\n"
                     "    .cfi_restore_state\n"
                     "1:\n"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4),
                       "r"(x9), [exit] "i"(SYS_exit)
                     : "memory");
    return x0;
#endif
}

/* The kernel clears *tid before the thread is off the process's list, which unshare() looks at. */
void clone_wait(_Atomic int *tid, int old_tid, int most_ms)
{
    enum { STEP_NS = 1000000 };
    const int pid = process_pid();

    for (int i = 0; (most_ms < 0 || i < most_ms) && load_acquire(tid) == old_tid; i++)
        sys_futex_wait_shared_ns(tid, (uint32_t)old_tid, STEP_NS);
    for (int i = 0; i < most_ms || most_ms < 0; i++) {
        if (sys_tgkill(pid, old_tid, 0) != 0)
            return;
        sys_nanosleep_ns(load_relaxed(tid) ? 0 : STEP_NS / 20);
    }
}
