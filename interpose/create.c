/* create - new threads: threadcreate.h says what happens to them. */
#include <pthread.h>
#include <stdint.h>
#include <threads.h>

#include "agent/threadcreate.h"
#include "base/compiler.h"
#include "base/real.h"

/* What threads begin with; it calls the program's function as its last act, by a jump, so that it is on no
 * stack. */
static void *begin(void *arg)
{
    const struct threadcreate_entry entry = threadcreate_begin((uint32_t)(uintptr_t)arg);

    return entry.function(entry.arg);
}

static int begin_c11(void *arg)
{
    const struct threadcreate_entry entry = threadcreate_begin((uint32_t)(uintptr_t)arg);

    return ((thrd_start_t)(uintptr_t)entry.function)(entry.arg);
}

EXPORT int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr,
                          void *(*function)(void *), void *arg)
{
    const struct threadcreate creation =
        threadcreate_prepare((struct threadcreate_entry){function, arg});
    const int err = creation.block ? real.pthread_create(ret_thread, attr, begin,
                                                         (void *)(uintptr_t)creation.block)
                                   : real.pthread_create(ret_thread, attr, function, arg);

    threadcreate_end(creation, err == 0);
    return err;
}

EXPORT int thrd_create(thrd_t *ret_thread, thrd_start_t function, void *arg)
{
    const struct threadcreate_entry entry = {(void *(*)(void *))(uintptr_t)function, arg};
    const struct threadcreate creation = threadcreate_prepare(entry);
    const int err = creation.block ? real.thrd_create(ret_thread, begin_c11,
                                                      (void *)(uintptr_t)creation.block)
                                   : real.thrd_create(ret_thread, function, arg);

    threadcreate_end(creation, err == thrd_success);
    return err;
}
