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

static void end(uint32_t block, int err, const void *function)
{
    if (err == 0)
        threadcreate_count(function);
    else if (block)
        threadcreate_take(block);
}

EXPORT int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr,
                          void *(*function)(void *), void *arg)
{
    const uint32_t block = threadcreate_put((struct threadcreate_entry){function, arg});
    const int err = block
                        ? real.pthread_create(ret_thread, attr, begin, (void *)(uintptr_t)block)
                        : real.pthread_create(ret_thread, attr, function, arg);

    end(block, err, (const void *)(uintptr_t)function);
    return err;
}

EXPORT int thrd_create(thrd_t *ret_thread, thrd_start_t function, void *arg)
{
    const struct threadcreate_entry entry = {(void *(*)(void *))(uintptr_t)function, arg};
    const uint32_t block = threadcreate_put(entry);
    const int err = block ? real.thrd_create(ret_thread, begin_c11, (void *)(uintptr_t)block)
                          : real.thrd_create(ret_thread, function, arg);

    end(block, err == thrd_success ? 0 : -1, (const void *)(uintptr_t)function);
    return err;
}
