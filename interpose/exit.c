/* exit - the ends of a process that run no handlers (trigger.h has the others). */
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/trigger.h"
#include "base/compiler.h"
#include "base/real.h"

EXPORT void _exit(int status)
{
    trigger_exit();
    real._exit(status);
}

EXPORT void _Exit(int status)
{
    trigger_exit();
    real._Exit(status);
}

/* Where syscall(SYS_exit_group, ...) goes: syscall.S. */
HIDDEN void exit_group(long number, long status);
void exit_group(long number, long status)
{
    trigger_exit();
    real.syscall(number, status);
    __builtin_unreachable();
}
