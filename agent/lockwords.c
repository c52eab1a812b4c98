/* lockwords - see lockwords.h. */
#include "agent/lockwords.h"

#include "base/real.h"
#include "base/sys.h"

static bool mutex_behaves(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    bool is_right = mutex_word(&mutex) == 0 && mutex_is_free(&mutex) &&
                    !mutex_knows_owner(&mutex) && real.pthread_mutex_lock(&mutex) == 0;
    is_right = is_right && mutex_word(&mutex) == 1 && !mutex_is_free(&mutex) &&
               mutex_is_owned_by(&mutex, sys_gettid());
    return is_right && real.pthread_mutex_unlock(&mutex) == 0 && mutex_word(&mutex) == 0;
}

static bool recursive_behaves(void)
{
    pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

    bool is_right = mutex_knows_owner(&mutex) && real.pthread_mutex_lock(&mutex) == 0 &&
                    !mutex_is_nested(&mutex) && real.pthread_mutex_lock(&mutex) == 0;
    is_right = is_right && mutex_is_nested(&mutex) && mutex_is_owned_by(&mutex, sys_gettid());
    return is_right && real.pthread_mutex_unlock(&mutex) == 0 &&
           real.pthread_mutex_unlock(&mutex) == 0 && mutex_is_free(&mutex);
}

static bool rwlock_behaves(void)
{
    pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

    bool is_right = rwlock_is_free(&rwlock) && real.pthread_rwlock_rdlock(&rwlock) == 0 &&
                    !rwlock_has_writer(&rwlock) && !rwlock_is_free(&rwlock) &&
                    rwlock_is_released_by(&rwlock, 0) &&
                    real.pthread_rwlock_unlock(&rwlock) == 0;
    is_right = is_right && real.pthread_rwlock_wrlock(&rwlock) == 0 &&
               rwlock_has_writer(&rwlock) && rwlock_is_released_by(&rwlock, sys_gettid());
    return is_right && real.pthread_rwlock_unlock(&rwlock) == 0 && rwlock_is_free(&rwlock);
}

const char *lockwords_check(void)
{
    if (!mutex_behaves() || !recursive_behaves())
        return "pthread_mutex_t";
    return rwlock_behaves() ? NULL : "pthread_rwlock_t";
}
