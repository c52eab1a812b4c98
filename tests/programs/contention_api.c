/* The rates of include/cprof.h, set by the program: what each call returns, and which contention is seen then.
 * Also compiled as C++ (contention_api_cpp.cc). */
#include "../../include/cprof.h"

#include "asleep.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

typedef void *(*thread_fn)(void *);

/* The holder's own function unlocks: each case has its pair. */
#define PAIR(name) \
    NAMED void *wait_##name(void *unused) \
    { \
        about_to_wait(); \
        pthread_mutex_lock(&lock); \
        pthread_mutex_unlock(&lock); \
        return unused; \
    } \
    NAMED void hold_##name(void) \
    { \
        pthread_t waiter; \
        pthread_mutex_lock(&lock); \
        sleeper_tid = 0; \
        check(pthread_create(&waiter, NULL, wait_##name, NULL) == 0, "pthread_create"); \
        work_while_it_sleeps(); \
        pthread_mutex_unlock(&lock); \
        KEEP(waiter); \
        pthread_join(waiter, NULL); \
    }

#ifdef __cplusplus
extern "C" {
#endif
PAIR(at_first)
PAIR(switched_off)
PAIR(exact)
PAIR(by_fraction)
#ifdef __cplusplus
}
#endif

static void say(const char *what, uint64_t block, uint64_t mutex, uint64_t fraction)
{
    printf("%s: block %lu, mutex %lu, fraction %lu, errno %d\n", what, (unsigned long)block,
           (unsigned long)mutex, (unsigned long)fraction, errno);
}

static void set(const char *what, uint64_t block, uint64_t mutex, uint64_t fraction)
{
    errno = 77;
    const uint64_t was_block = cprof_set_block_rate(block);
    const uint64_t was_mutex = cprof_set_mutex_rate(mutex);
    const uint64_t was_fraction = cprof_set_mutex_fraction(fraction);
    say(what, was_block, was_mutex, was_fraction);
}

int main(void)
{
    hold_at_first();
    set("before switching off", 0, 0, 0);
    hold_switched_off();
    set("before exact", 1, 1, 0);
    hold_exact();
    set("before the fraction", 1000000000000, 0, 1);
    hold_by_fraction();
    set("at the end", 12345, 54321, 5);
    set("and once more", 1, 1, 0);
    return 0;
}
