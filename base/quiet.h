/* quiet - write() without its signals.
 *
 * A pipe without a reader and a file over its limit also raise SIGPIPE and SIGXFSZ, which would kill a program
 * for what we write.  They are blocked meanwhile and taken back, unless one was pending before: that one is
 * the program's, and ours has merged with it.
 *
 * Signal-safe, any thread. */
#ifndef CPROF_BASE_QUIET_H
#define CPROF_BASE_QUIET_H

#include <errno.h>

#include "base/sys.h"

static inline ssize_t quiet_write(int fd, const void *data, size_t size)
{
    const sys_sigset deadly = (sys_sigset)1 << (SIGPIPE - 1) | (sys_sigset)1 << (SIGXFSZ - 1);
    sys_sigset old, pending = 0;

    sys_sigmask(SIG_BLOCK, &deadly, &old);
    sys_sigpending(&pending);
    const ssize_t n = sys_write(fd, data, size);
    const sys_sigset ours = n == -EPIPE   ? (sys_sigset)1 << (SIGPIPE - 1)
                            : n == -EFBIG ? (sys_sigset)1 << (SIGXFSZ - 1)
                                          : 0;
    if (ours & ~pending)
        sys_sigtimedwait_now(&ours);
    sys_sigmask(SIG_SETMASK, &old, NULL);
    return n;
}

#endif
