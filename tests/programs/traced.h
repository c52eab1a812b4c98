/* traced.h - victims whose system calls are watched, or changed, from outside.
 *
 * The tracer is a child, so that the process that was started is the one that is watched.  Only the thread that starts it
 * is traced.  Where tracing is not allowed the victim ends with UNSUPPORTED. */
#ifndef TRACED_H
#define TRACED_H

#include <elf.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "victim.h"

enum { UNSUPPORTED = 77 };

/* Where the registers of a system call stand. */
#if defined(__x86_64__)
enum {
    CALL_RESULT = offsetof(struct user_regs_struct, rax),
    CALL_FOURTH_ARGUMENT = offsetof(struct user_regs_struct, r10),
};
#else
enum {
    CALL_RESULT = offsetof(struct user_regs_struct, regs[0]),
    CALL_FOURTH_ARGUMENT = offsetof(struct user_regs_struct, regs[3]),
};
#endif

/* Of a thread that stands at a system call. */
static inline void set_register(pid_t tid, size_t at, unsigned long value)
{
    struct user_regs_struct regs;
    struct iovec all = {&regs, sizeof regs};

    check(ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &all) == 0, "GETREGSET");
    memcpy((char *)&regs + at, &value, sizeof value);
    check(ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &all) == 0, "SETREGSET");
}

/* On to the thread's next entry of a system call, or return from one; signals are passed on. */
static struct __ptrace_syscall_info next_call(pid_t tid)
{
    struct __ptrace_syscall_info info = {0};
    int status, number = 0;

    for (;;) {
        check(ptrace(PTRACE_SYSCALL, tid, 0, number) == 0, "SYSCALL");
        check(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status), "waitpid");
        if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            break;
        number = status >> 16 == 0 ? WSTOPSIG(status) : 0;
    }
    check(ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) > 0, "SYSCALL_INFO");
    return info;
}

/* Returns the tracer's pid once it has begun; it lets go when watch() returns, and ends. */
static pid_t start_tracer(void (*watch)(pid_t pid))
{
    int ready[2], status;
    char byte;

    check(pipe(ready) == 0, "pipe");
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    const pid_t me = getpid(), tracer = fork();
    if (tracer == 0) {
        if (ptrace(PTRACE_SEIZE, me, 0, PTRACE_O_TRACESYSGOOD) != 0)
            _exit(UNSUPPORTED);
        check(ptrace(PTRACE_INTERRUPT, me, 0, 0) == 0, "INTERRUPT");
        check(waitpid(me, &status, __WALL) == me && WIFSTOPPED(status), "waitpid");
        check(write(ready[1], "", 1) == 1, "write");
        close(ready[1]);
        watch(me);
        check(ptrace(PTRACE_DETACH, me, 0, 0) == 0, "DETACH");
        _exit(0);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1) {
        waitpid(tracer, &status, 0);
        exit(WEXITSTATUS(status));
    }
    close(ready[0]);
    return tracer;
}

#endif
