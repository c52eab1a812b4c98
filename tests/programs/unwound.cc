// Exceptions, thread_local destructors and pthread_exit through everything that waits and through a new thread's start.
#include <cxxabi.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "waiting.h"

static std::mutex mutex;
static std::condition_variable condition;
static atomic_tid tid;
static int n_destroyed, n_unwound;

// Locks what others hold, in a destructor that runs while the thread goes away.
struct Last {
    bool is_used = false;
    ~Last()
    {
        std::lock_guard<std::mutex> lock(mutex);
        n_destroyed++;
    }
};
static thread_local Last last;

struct Unwound {
    ~Unwound() { n_unwound++; }
};

static void begin()
{
    last.is_used = true;
    tid = static_cast<pid_t>(syscall(SYS_gettid));
}

static void throws_after_waiting()
{
    Unwound unwound;
    std::unique_lock<std::mutex> lock(mutex);
    if (condition.wait_for(lock, std::chrono::milliseconds(2)) == std::cv_status::timeout)
        throw std::runtime_error("timeout");
}

static void *catches(void *)
{
    begin();
    try {
        throws_after_waiting();
    } catch (const std::runtime_error &error) {
        return strdup(error.what());
    }
    return nullptr;
}

// The library's wait may not swallow the unwinding of a cancellation: what is caught is thrown again.
static void *cancelled_in_wait(void *)
{
    Unwound unwound;
    begin();
    try {
        std::unique_lock<std::mutex> lock(mutex);
        pthread_cond_wait(condition.native_handle(), mutex.native_handle());
    } catch (abi::__forced_unwind &) {
        n_unwound += 10;
        throw;
    }
    return nullptr;
}

// Every call that is a cancellation point, with something to destroy on either side of it.
static sem_t semaphore;
static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t plain_condition = PTHREAD_COND_INITIALIZER;
static pthread_t sleeper;
static timespec real_later, mono_later;

struct Unlocked {
    ~Unlocked() { pthread_mutex_unlock(&plain); }
};

static const struct Point {
    const char *name;
    void (*wait)();
} points[] = {
    {"sem_wait", [] { sem_wait(&semaphore); }},
    {"sem_timedwait", [] { sem_timedwait(&semaphore, &real_later); }},
    {"sem_clockwait", [] { sem_clockwait(&semaphore, CLOCK_MONOTONIC, &mono_later); }},
    {"join", [] { pthread_join(sleeper, nullptr); }},
    {"timedjoin", [] { pthread_timedjoin_np(sleeper, nullptr, &real_later); }},
    {"clockjoin", [] { pthread_clockjoin_np(sleeper, nullptr, CLOCK_MONOTONIC, &mono_later); }},
    {"cond_wait", [] {
         pthread_mutex_lock(&plain);
         Unlocked unlocked;
         pthread_cond_wait(&plain_condition, &plain);
     }},
    {"cond_timedwait", [] {
         pthread_mutex_lock(&plain);
         Unlocked unlocked;
         pthread_cond_timedwait(&plain_condition, &plain, &real_later);
     }},
    {"cond_clockwait", [] {
         pthread_mutex_lock(&plain);
         Unlocked unlocked;
         pthread_cond_clockwait(&plain_condition, &plain, CLOCK_MONOTONIC, &mono_later);
     }},
};
static const Point *point;

static void *cancelled_at_point(void *)
{
    Unwound unwound;
    begin();
    try {
        point->wait();
    } catch (...) {
        n_unwound += 10;
        throw;
    }
    return nullptr;
}

static void *sleeps(void *)
{
    for (;;)
        pause();
}

static void *exits_from_below(void *)
{
    Unwound unwound;
    begin();
    pthread_exit(const_cast<char *>("exited"));
}

static void *run(void *(*work)(void *), bool cancel)
{
    pthread_t thread;
    void *result = nullptr;
    n_destroyed = n_unwound = 0;
    tid = 0;
    check(!pthread_create(&thread, nullptr, work, nullptr), "pthread_create");
    if (cancel) {
        await_waiting(&tid);
        pthread_cancel(thread);
    }
    pthread_join(thread, &result);
    return result;
}

int main()
{
    char *text = static_cast<char *>(run(catches, false));
    printf("thrown: %s, %d unwound, %d destroyed\n", text, n_unwound, n_destroyed);
    free(text);
    void *result = run(cancelled_in_wait, true);
    printf("cancelled: %d, %d unwound, %d destroyed\n", result == PTHREAD_CANCELED, n_unwound, n_destroyed);
    real_later = after_ns(CLOCK_REALTIME, 300000000000);
    mono_later = after_ns(CLOCK_MONOTONIC, 300000000000);
    sem_init(&semaphore, 0, 0);
    check(!pthread_create(&sleeper, nullptr, sleeps, nullptr), "pthread_create");
    for (const Point &each : points) {
        point = &each;
        result = run(cancelled_at_point, true);
        printf("%s: %d, %d unwound, %d destroyed, unlocked %d\n", each.name, result == PTHREAD_CANCELED, n_unwound,
               n_destroyed, pthread_mutex_trylock(&plain) == 0 && pthread_mutex_unlock(&plain) == 0);
    }
    result = run(exits_from_below, false);
    printf("exit: %s, %d unwound, %d destroyed\n", static_cast<char *>(result), n_unwound, n_destroyed);
    n_destroyed = 0;
    std::thread([] { begin(); }).join();
    printf("std::thread: %d destroyed\n", n_destroyed);
    mutex.lock(); // the destructor of a thread waits for it
    tid = 0;
    std::thread thread([] { begin(); });
    await_waiting(&tid);
    mutex.unlock();
    thread.join();
    printf("contended: %d destroyed\n", n_destroyed);
    const pid_t child = fork();
    if (child == 0) {
        fclose(stderr);
        std::thread([] { throw 1; }).join();
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("uncaught: signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}
