/* lockwords - see lockwords.h. */
#include "agent/lockwords.h"

#include "base/real.h"
#include "base/sys.h"

/* Each has an address for good: helgrind and drd end the program where a rwlock stands in the place of what they saw as a
 * mutex before, as locks in a stack's frames do. */
static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

static bool mutex_behaves(int tid)
{
    bool is_right = mutex_word(&plain) == 0 && mutex_is_free(&plain) &&
                    !mutex_knows_owner(&plain) && real.pthread_mutex_lock(&plain) == 0;
    is_right = is_right && mutex_word(&plain) == 1 && !mutex_is_free(&plain) &&
               mutex_is_owned_by(&plain, tid);
    return is_right && real.pthread_mutex_unlock(&plain) == 0 && mutex_word(&plain) == 0;
}

static bool recursive_behaves(int tid)
{
    bool is_right = mutex_knows_owner(&recursive) && real.pthread_mutex_lock(&recursive) == 0 &&
                    !mutex_is_nested(&recursive) && real.pthread_mutex_lock(&recursive) == 0;
    is_right = is_right && mutex_is_nested(&recursive) && mutex_is_owned_by(&recursive, tid);
    return is_right && real.pthread_mutex_unlock(&recursive) == 0 &&
           real.pthread_mutex_unlock(&recursive) == 0 && mutex_is_free(&recursive);
}

static bool rwlock_behaves(int tid)
{
    bool is_right = rwlock_is_free(&rwlock) && real.pthread_rwlock_rdlock(&rwlock) == 0 &&
                    !rwlock_has_writer(&rwlock) && !rwlock_is_free(&rwlock) &&
                    rwlock_is_released_by(&rwlock, 0) &&
                    real.pthread_rwlock_unlock(&rwlock) == 0;
    is_right = is_right && real.pthread_rwlock_wrlock(&rwlock) == 0 &&
               rwlock_has_writer(&rwlock) && rwlock_is_released_by(&rwlock, tid);
    return is_right && real.pthread_rwlock_unlock(&rwlock) == 0 && rwlock_is_free(&rwlock);
}

const char *lockwords_check(void)
{
    const int tid = sys_gettid();

    if (!mutex_behaves(tid) || !recursive_behaves(tid))
        return "pthread_mutex_t";
    return rwlock_behaves(tid) ? NULL : "pthread_rwlock_t";
}
