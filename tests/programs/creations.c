/* Creates threads at known places, and fails to. */
#include <sys/resource.h>
#include <threads.h>

#include "victim.h"

NAMED void *works_a(void *arg)
{
    return arg;
}
NAMED void *works_b(void *arg)
{
    return arg;
}
NAMED int works_c11(void *arg)
{
    return (int)(intptr_t)arg;
}

static void start_and_join(void *(*work)(void *), intptr_t i)
{
    pthread_t thread;
    void *result;
    check(!pthread_create(&thread, NULL, work, (void *)i), "pthread_create");
    pthread_join(thread, &result);
    check((intptr_t)result == i, "the result");
}

NAMED void creates_seven(void)
{
    for (int i = 0; i < 7; i++)
        start_and_join(works_a, i);
}
NAMED void creates_five_and_two(void)
{
    for (int i = 0; i < 5; i++)
        start_and_join(works_b, i);
    for (int i = 0; i < 2; i++)
        start_and_join(works_a, i);
}
NAMED void creates_three_c11(void)
{
    for (int i = 0; i < 3; i++) {
        thrd_t thread;
        int result;
        check(thrd_create(&thread, works_c11, (void *)(intptr_t)-i) == thrd_success,
              "thrd_create");
        thrd_join(thread, &result);
        check(result == -i, "the result");
    }
}

/* No memory is so large. */
NAMED void fails_to_create(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    check(!pthread_attr_setstacksize(&attr, (size_t)1 << 46), "pthread_attr_setstacksize");
    for (int i = 0; i < 50; i++)
        check(pthread_create(&thread, &attr, works_a, NULL) == EAGAIN, "pthread_create fails");
    errno = 0;
}

/* Nor has a process that may map nothing more room for a stack. */
NAMED void fails_to_create_c11(void)
{
    struct rlimit old, none = {0, 0};
    pthread_attr_t attr;
    thrd_t thread;
    getrlimit(RLIMIT_AS, &old);
    none.rlim_max = old.rlim_max;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)64 << 20); /* larger than those that libc keeps */
    pthread_setattr_default_np(&attr);
    setrlimit(RLIMIT_AS, &none);
    int code = 0;
    for (int i = 0; i < 50; i++)
        code |= thrd_create(&thread, works_c11, NULL) == thrd_success;
    setrlimit(RLIMIT_AS, &old);
    check(code == 0, "thrd_create fails");
}

int main(void)
{
    fails_to_create();
    creates_seven();
    creates_five_and_two();
    creates_three_c11();
    fails_to_create_c11();
    creates_three_c11();
    puts("done");
    return 0;
}
