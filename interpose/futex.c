/* futex - waits that go around pthreads (syscall.S): Rust's std, C++20's atomics, abseil.
 *
 * libc's syscall() is no cancellation point.  Whoever wakes the waiter is not known, so nobody is charged. */
#include <errno.h>
#include <unistd.h>

#include "agent/contention.h"
#include "base/compiler.h"
#include "base/real.h"

/* As syscall(), for operations that wait.  A value that had changed already (EAGAIN) is no wait. */
HIDDEN long futex_wait(long number, long a, long b, long c, long d, long e, long f);
long futex_wait(long number, long a, long b, long c, long d, long e, long f)
{
    struct contention wait;

    contention_begin(&wait, WAIT_FUTEX, NULL);
    const long result = real.syscall(number, a, b, c, d, e, f);
    contention_end(&wait, result >= 0                            ? CONTENTION_GOT_IT
                          : errno == ETIMEDOUT || errno == EINTR ? CONTENTION_GAVE_UP
                                                                 : CONTENTION_FAILED);
    return result;
}
