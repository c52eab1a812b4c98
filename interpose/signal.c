/* signal - so that a program sees its own handlers only (trigger.h). */
#include <signal.h>

#include "agent/trigger.h"
#include "base/compiler.h"
#include "base/real.h"

EXPORT int sigaction(int number, const struct sigaction *action, struct sigaction *ret_old)
{
    return trigger_sigaction(number, action, ret_old);
}

EXPORT sighandler_t signal(int number, sighandler_t handler)
{
    return trigger_signal(real.signal, number, handler);
}

/* What signal() is in programs built for strict ISO C or System V. */
EXPORT sighandler_t __sysv_signal(int number, sighandler_t handler)
{
    return trigger_signal(real.__sysv_signal, number, handler);
}

EXPORT sighandler_t sysv_signal(int number, sighandler_t handler)
{
    return trigger_signal(real.sysv_signal, number, handler);
}
