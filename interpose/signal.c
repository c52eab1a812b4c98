/* signal - so that a program sees its own handlers only (signals.h). */
#include <signal.h>

#include "agent/signals.h"
#include "base/compiler.h"
#include "base/real.h"

EXPORT int sigaction(int number, const struct sigaction *action, struct sigaction *ret_old)
{
    return signals_sigaction(number, action, ret_old);
}

EXPORT sighandler_t signal(int number, sighandler_t handler)
{
    return signals_signal(real.signal, number, handler);
}

/* What signal() is in programs built for strict ISO C or System V. */
EXPORT sighandler_t __sysv_signal(int number, sighandler_t handler)
{
    return signals_signal(real.__sysv_signal, number, handler);
}

EXPORT sighandler_t sysv_signal(int number, sighandler_t handler)
{
    return signals_signal(real.sysv_signal, number, handler);
}

/* And under its other names. */
EXPORT sighandler_t bsd_signal(int number, sighandler_t handler)
{
    return signals_signal(real.bsd_signal, number, handler);
}

EXPORT sighandler_t ssignal(int number, sighandler_t handler)
{
    return signals_signal(real.ssignal, number, handler);
}
