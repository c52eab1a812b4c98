/* Between a program and libc: unlocks that return when the program says so.
 * flags: -ldl */
#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>
#include <threads.h>

#include "victim.h"

_Thread_local _Atomic bool *slow_unlock_until;

static void (*next(const char *name))(void)
{
    void (*function)(void);
    void *found = dlsym(RTLD_NEXT, name);

    check(found != NULL, name);
    memcpy(&function, &found, sizeof function);
    return function;
}

static int returns_late(int result)
{
    while (slow_unlock_until && !atomic_load(slow_unlock_until))
        sched_yield();
    return result;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    return returns_late(((int (*)(pthread_mutex_t *))next("pthread_mutex_unlock"))(mutex));
}

int mtx_unlock(mtx_t *mutex)
{
    return returns_late(((int (*)(mtx_t *))next("mtx_unlock"))(mutex));
}

int pthread_rwlock_unlock(pthread_rwlock_t *rwlock)
{
    return returns_late(((int (*)(pthread_rwlock_t *))next("pthread_rwlock_unlock"))(rwlock));
}
