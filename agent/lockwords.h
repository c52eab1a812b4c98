/* lockwords - what glibc's locks say about themselves, read without touching them.
 *
 *   mutex    __lock     0 free, 1 held, 2 held and perhaps awaited; robust and PI: the owner's tid, bit 31 =
 *                       awaited; PP: the ceiling stands above bit 18
 *   rwlock   __readers  bit 0 write phase, bit 1 a writer holds it or is next, bit 2 readers wait, from
 *                       bit 3 on the number of readers; a free one reads 0 or 1
 *
 * A word may change at any moment, so a peek decides only whether the real function is measured: what it finds
 * is never acted upon.  lockwords_check() tries all this on locks of its own; where the libc has
 * other ideas nothing is measured.
 *
 * Any thread, signal-safe. */
#ifndef CPROF_AGENT_LOCKWORDS_H
#define CPROF_AGENT_LOCKWORDS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/compiler.h"

enum {
    LOCKWORDS_CEILING = (int)0xfff80000, /* PP: bits of the ceiling */
    LOCKWORDS_TID = 0x3fffffff,          /* robust and PI: the owner */
};

/* Bits of __kind, as in glibc's pthreadP.h. */
enum {
    MUTEX_TYPE = 3,
    MUTEX_RECURSIVE = 1,
    MUTEX_ERRORCHECK = 2,
    MUTEX_ROBUST = 16,
    MUTEX_PI = 32,
    MUTEX_PP = 64
};

enum { RWLOCK_WRITE_PHASE = 1, RWLOCK_WRITER = 2, RWLOCK_READER_SHIFT = 3 };

static inline unsigned mutex_word(const pthread_mutex_t *mutex)
{
    return (unsigned)__atomic_load_n(&mutex->__data.__lock, __ATOMIC_RELAXED);
}

static inline int mutex_kind(const pthread_mutex_t *mutex)
{
    return __atomic_load_n(&mutex->__data.__kind, __ATOMIC_RELAXED);
}

/* ---- the fast looks: with the branch two instructions each ----
 *
 * Asking for the line as one that will be written (prefetchw) was tried: no gain under contention. */

#if defined(__x86_64__)
#define LOCKWORDS_PEEK(flags, instruction, word, operand, otherwise) \
    ({ \
        bool is_so; \
        __asm__ volatile(instruction " %2, %1" \
                         : "=@cc" flags(is_so) \
                         : "m"(word), "ri"(operand)); \
        is_so; \
    })
#else
#define LOCKWORDS_PEEK(flags, instruction, word, operand, otherwise) (otherwise)
#endif

/* Surely free; no one waits.  Kinds with other words come out false. */
static inline bool mutex_seems_free(const pthread_mutex_t *mutex)
{
    return LOCKWORDS_PEEK("e", "cmpl", mutex->__data.__lock, 0, mutex_word(mutex) == 0);
}
static inline bool mutex_seems_unawaited(const pthread_mutex_t *mutex)
{
    return LOCKWORDS_PEEK("be", "cmpl", mutex->__data.__lock, 1, mutex_word(mutex) <= 1);
}

/* The exact look. */
static inline bool mutex_is_free(const pthread_mutex_t *mutex)
{
    const unsigned word = mutex_word(mutex);
    const int kind = mutex_kind(mutex);

    if (kind & (MUTEX_ROBUST | MUTEX_PI))
        return (word & LOCKWORDS_TID) == 0;
    return (kind & MUTEX_PP ? word & ~(unsigned)LOCKWORDS_CEILING : word) == 0;
}

/* Kinds that look at who calls; normal ones do not. */
static inline bool mutex_knows_owner(const pthread_mutex_t *mutex)
{
    const int kind = mutex_kind(mutex);

    return (kind & MUTEX_TYPE) == MUTEX_RECURSIVE || (kind & MUTEX_TYPE) == MUTEX_ERRORCHECK ||
           kind & (MUTEX_ROBUST | MUTEX_PI | MUTEX_PP);
}

/* Robust and PI ones say it in the word; while a robust one is inconsistent, __owner is not a tid. */
static inline bool mutex_is_owned_by(const pthread_mutex_t *mutex, int tid)
{
    if (mutex_kind(mutex) & (MUTEX_ROBUST | MUTEX_PI))
        return (mutex_word(mutex) & LOCKWORDS_TID) == (unsigned)tid;
    return __atomic_load_n(&mutex->__data.__owner, __ATOMIC_RELAXED) == tid;
}

/* An unlock by its owner that leaves it locked. */
static inline bool mutex_is_nested(const pthread_mutex_t *mutex)
{
    return (mutex_kind(mutex) & MUTEX_TYPE) == MUTEX_RECURSIVE && mutex->__data.__count > 1;
}

static inline unsigned rwlock_word(const pthread_rwlock_t *rwlock)
{
    return __atomic_load_n(&rwlock->__data.__readers, __ATOMIC_RELAXED);
}
/* Any of the bits is set. */
static inline bool rwlock_has(const pthread_rwlock_t *rwlock, unsigned bits)
{
    return !LOCKWORDS_PEEK("e", "testl", rwlock->__data.__readers, bits,
                           !(rwlock_word(rwlock) & bits));
}
static inline bool rwlock_has_writer(const pthread_rwlock_t *rwlock)
{
    return rwlock_has(rwlock, RWLOCK_WRITER);
}
static inline bool rwlock_is_free(const pthread_rwlock_t *rwlock)
{
    return rwlock_word(rwlock) <= RWLOCK_WRITE_PHASE;
}
/* The caller's unlock lets others in: it is the writer, or the last reader. */
static inline bool rwlock_is_released_by(const pthread_rwlock_t *rwlock, int tid)
{
    return __atomic_load_n(&rwlock->__data.__cur_writer, __ATOMIC_RELAXED) == tid ||
           rwlock_word(rwlock) >> RWLOCK_READER_SHIFT == 1;
}

/* From the constructor, with the real functions.  NULL: all is as above; else what is not. */
const char *lockwords_check(void);

#endif
