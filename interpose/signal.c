/* signal - so that a program sees its own handlers only (trigger.h). */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "agent/trigger.h"
#include "base/compiler.h"
#include "base/real.h"

EXPORT int sigaction(int number, const struct sigaction *action, struct sigaction *ret_old)
{
    return trigger_sigaction(number, action, ret_old);
}

/* BSD semantics, as libc's signal(): handlers stay and system calls restart. */
EXPORT sighandler_t signal(int number, sighandler_t handler)
{
    struct sigaction action, old;

    if (handler == SIG_ERR) {
        errno = EINVAL;
        return SIG_ERR;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, number);
    return trigger_sigaction(number, &action, &old) < 0 ? SIG_ERR : old.sa_handler;
}
