/* A kernel that cuts the text of /proc/self/exe short, as valgrind 3.24 may: a tracer lets it have no more room than for
 * the program's directory.  The program starts itself again under it. */
#include <libgen.h>
#include <limits.h>
#include <sys/syscall.h>

#include "traced.h"

static size_t room;

static bool is_of_the_program(pid_t pid, uint64_t path)
{
    char text[] = "/proc/self/exe";
    struct iovec to = {text, sizeof text}, from = {(void *)path, sizeof text};

    return process_vm_readv(pid, &to, 1, &from, 1, 0) == sizeof text &&
           strcmp(text, "/proc/self/exe") == 0;
}

/* The first such call; without the agent there is none, and the program's end is waited for. */
static void cut_the_link(pid_t pid)
{
    struct __ptrace_syscall_info info;

    check(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC) == 0,
          "SETOPTIONS");
    do
        info = next_call(pid);
    while (info.op != PTRACE_SYSCALL_INFO_ENTRY ||
           (info.entry.nr != SYS_exit_group &&
            !(info.entry.nr == SYS_readlinkat && is_of_the_program(pid, info.entry.args[1]))));
    if (info.entry.nr == SYS_readlinkat)
        set_register(pid, CALL_FOURTH_ARGUMENT, room);
}

NAMED void *keeps(void)
{
    return malloc(4711);
}

int main(int argc, char **argv)
{
    char path[PATH_MAX] = "";

    if (argc == 1) {
        check(readlink("/proc/self/exe", path, sizeof path - 1) > 0, "readlink");
        room = strlen(dirname(path));
        start_tracer(cut_the_link);
        execl("/proc/self/exe", argv[0], "again", NULL);
        check(false, "execl");
    }
    check(keeps() != NULL, "malloc");
    return puts("ok") < 0;
}
