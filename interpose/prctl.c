/* prctl - a seccomp filter is looked at before it comes into force (sandbox.h). */
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/sandbox.h"
#include "base/compiler.h"
#include "base/real.h"

/* Variadic for its callers: the same registers. */
EXPORT int prctl_wrapper(int option, unsigned long a, unsigned long b, unsigned long c,
                         unsigned long d) __asm__("prctl");

int prctl_wrapper(int option, unsigned long a, unsigned long b, unsigned long c,
                  unsigned long d)
{
    if (unlikely(option == PR_SET_SECCOMP && a == SECCOMP_MODE_FILTER))
        sandbox_enter((const struct sock_fprog *)b, false);
    else if (unlikely(option == PR_SET_SECCOMP && a == SECCOMP_MODE_STRICT))
        sandbox_enter_strict();
    return real.prctl(option, a, b, c, d);
}

/* syscall(SYS_seccomp, ...), by which libseccomp does it: from syscall.S. */
HIDDEN long seccomp_called(long number, unsigned operation, unsigned flags,
                           const struct sock_fprog *filter);
long seccomp_called(long number, unsigned operation, unsigned flags,
                    const struct sock_fprog *filter)
{
    if (operation == SECCOMP_SET_MODE_FILTER)
        sandbox_enter(filter, flags & SECCOMP_FILTER_FLAG_TSYNC);
    else if (operation == SECCOMP_SET_MODE_STRICT && !flags && !filter) /* else it is refused */
        sandbox_enter_strict();
    return real.syscall(number, operation, flags, filter);
}
