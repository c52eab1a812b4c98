/* create - new threads: threadcreate.h says what is counted.  They begin with the program's function. */
#include <pthread.h>
#include <stdint.h>
#include <threads.h>

#include "agent/threadcreate.h"
#include "base/compiler.h"
#include "base/real.h"

EXPORT int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr,
                          void *(*function)(void *), void *arg)
{
    const int err = real.pthread_create(ret_thread, attr, function, arg);

    if (err == 0)
        threadcreate_on_create((uintptr_t)function);
    return err;
}

EXPORT int thrd_create(thrd_t *ret_thread, thrd_start_t function, void *arg)
{
    const int err = real.thrd_create(ret_thread, function, arg);

    if (err == thrd_success)
        threadcreate_on_create((uintptr_t)function);
    return err;
}
