/* Prints how many system calls its first snapshot takes, as a tracer counts them. */
#include <sys/syscall.h>

#include "traced.h"

enum { BEGIN = 0x5eed, END = 0x5eee };

/* getpriority() with an argument that the kernel refuses: nobody else calls that. */
static void mark(int which)
{
    check(syscall(SYS_getpriority, which, 0) == -1, "getpriority");
}

static bool is_mark(const struct __ptrace_syscall_info *info, uint64_t which)
{
    return info->op == PTRACE_SYSCALL_INFO_ENTRY && info->entry.nr == SYS_getpriority &&
           info->entry.args[0] == which;
}

static void count_calls(pid_t pid)
{
    struct __ptrace_syscall_info info;
    int n = 0;

    do
        info = next_call(pid);
    while (!is_mark(&info, BEGIN));
    for (; !is_mark(&info, END); info = next_call(pid))
        n += info.op == PTRACE_SYSCALL_INFO_ENTRY;
    dprintf(STDOUT_FILENO, "%d\n", n);
}

int main(void)
{
    int status;
    const pid_t tracer = start_tracer(count_calls);

    mark(BEGIN);
    raise(SIGUSR2);
    mark(END);
    check(waitpid(tracer, &status, 0) == tracer && status == 0, "tracer");
    _exit(0);
}
