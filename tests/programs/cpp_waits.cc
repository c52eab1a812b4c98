// Every way to wait that C++ has, each once, with a holder that lets go 20 ms after the waiter fell asleep.
// flags: -std=c++20
#include <atomic>
#include <barrier>
#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <stdexcept>
#include <thread>

#include <sched.h>

#include "asleep.h"

using namespace std::chrono_literals;

#define SCENE(name) extern "C" NAMED void name()

static std::thread waiter;

static void start(void (*wait)())
{
    sleeper_tid = 0;
    waiter = std::thread([wait] { wait(); });
}

// ---- locks: the holder unlocks in its own function

static std::mutex mutex;
SCENE(wait_mutex) { about_to_wait(); mutex.lock(); mutex.unlock(); }
SCENE(hold_mutex) { mutex.lock(); start(wait_mutex); work_while_it_sleeps(); mutex.unlock(); }

static std::recursive_mutex recursive;
SCENE(wait_recursive) { about_to_wait(); std::lock_guard guard(recursive); }
SCENE(hold_recursive)
{
    recursive.lock();
    recursive.lock();
    start(wait_recursive);
    work_while_it_sleeps();
    recursive.unlock();
    recursive.unlock();
}

static std::timed_mutex timed;
SCENE(wait_timed) { about_to_wait(); check(timed.try_lock_for(50s), "try_lock_for"); timed.unlock(); }
SCENE(hold_timed) { timed.lock(); start(wait_timed); work_while_it_sleeps(); timed.unlock(); }

// A time that passes before the wait begins leaves nothing to wait for: of many short waits that can befall a few.
enum { N_IN_VAIN = 50 };

SCENE(wait_too_long)
{
    for (int i = 0; i < N_IN_VAIN; i++)
        check(!timed.try_lock_until(std::chrono::system_clock::now() + 1ms), "timeout");
}
SCENE(hold_too_long) { timed.lock(); start(wait_too_long); waiter.join(); timed.unlock(); }

static std::shared_mutex shared;
SCENE(wait_to_write) { about_to_wait(); std::unique_lock guard(shared); }
SCENE(hold_reading) { shared.lock_shared(); start(wait_to_write); work_while_it_sleeps(); shared.unlock_shared(); }
SCENE(wait_to_read) { about_to_wait(); std::shared_lock guard(shared); }
SCENE(hold_writing) { shared.lock(); start(wait_to_read); work_while_it_sleeps(); shared.unlock(); }

static std::shared_timed_mutex shared_timed;
SCENE(wait_to_read_timed)
{
    about_to_wait();
    check(shared_timed.try_lock_shared_for(50s), "try_lock_shared_for");
    shared_timed.unlock_shared();
}
SCENE(hold_writing_timed)
{
    shared_timed.lock();
    start(wait_to_read_timed);
    work_while_it_sleeps();
    shared_timed.unlock();
}

// ---- waits for an event

static std::condition_variable condition;
static std::condition_variable_any any_condition;
static bool happened;

template <typename Wait> static void wait_for_event(Wait wait)
{
    std::unique_lock lock(mutex);
    about_to_wait();
    wait(lock);
    check(happened, "the event");
    happened = false;
}
template <typename Condition> static void bring_event(void (*wait)(), Condition &which)
{
    start(wait);
    work_while_it_sleeps();
    std::lock_guard guard(mutex);
    happened = true;
    which.notify_one();
}
static bool has_happened() { return happened; }

SCENE(wait_cond) { wait_for_event([](auto &lock) { condition.wait(lock, has_happened); }); }
SCENE(hold_cond) { bring_event(wait_cond, condition); }
SCENE(wait_cond_for) { wait_for_event([](auto &lock) { condition.wait_for(lock, 50s, has_happened); }); }
SCENE(hold_cond_for) { bring_event(wait_cond_for, condition); }
SCENE(wait_cond_until)
{
    wait_for_event([](auto &lock) { condition.wait_until(lock, std::chrono::system_clock::now() + 50s, has_happened); });
}
SCENE(hold_cond_until) { bring_event(wait_cond_until, condition); }
SCENE(wait_cond_any) { wait_for_event([](auto &lock) { any_condition.wait(lock, has_happened); }); }
SCENE(hold_cond_any) { bring_event(wait_cond_any, any_condition); }
SCENE(wait_cond_in_vain)
{
    std::unique_lock lock(mutex);
    for (int i = 0; i < N_IN_VAIN; i++)
        check(condition.wait_for(lock, 1ms) == std::cv_status::timeout, "timeout");
}
SCENE(hold_cond_in_vain) { start(wait_cond_in_vain); }

static std::atomic<int> number;
SCENE(wait_atomic) { about_to_wait(); number.wait(0); }
SCENE(hold_atomic) { start(wait_atomic); work_while_it_sleeps(); number = 1; number.notify_one(); }

static std::atomic<char> small; // waits through a proxy
SCENE(wait_small_atomic) { about_to_wait(); small.wait(0); }
SCENE(hold_small_atomic) { start(wait_small_atomic); work_while_it_sleeps(); small = 1; small.notify_all(); }

static std::counting_semaphore<9> semaphore{0};
SCENE(wait_semaphore) { about_to_wait(); semaphore.acquire(); }
SCENE(hold_semaphore) { start(wait_semaphore); work_while_it_sleeps(); semaphore.release(); }
SCENE(wait_semaphore_for) { about_to_wait(); check(semaphore.try_acquire_for(50s), "try_acquire_for"); }
SCENE(hold_semaphore_for) { start(wait_semaphore_for); work_while_it_sleeps(); semaphore.release(); }

static std::latch latch{2};
SCENE(wait_latch) { about_to_wait(); latch.arrive_and_wait(); }
SCENE(hold_latch) { start(wait_latch); work_while_it_sleeps(); latch.count_down(); }

static std::barrier barrier{2};
SCENE(wait_barrier) { about_to_wait(); barrier.arrive_and_wait(); }
SCENE(hold_barrier) { start(wait_barrier); work_while_it_sleeps(); (void)barrier.arrive(); }

static std::promise<int> promise;
SCENE(wait_future)
{
    auto future = promise.get_future();
    about_to_wait();
    check(future.get() == 7, "future");
}
SCENE(hold_future) { start(wait_future); work_while_it_sleeps(); promise.set_value(7); }

// Joins a thread that works.
static std::thread joined;
SCENE(wait_join) { about_to_wait(); joined.join(); }
SCENE(hold_join)
{
    std::atomic<bool> may_end{false};
    joined = std::thread([&] { while (!may_end) sched_yield(); });
    start(wait_join);
    work_while_it_sleeps();
    may_end = true;
    waiter.join();
}

// glibc's pthread_once is not wrapped: exceptions pass, and who waits for it is let through.
static std::once_flag once;
static int n_tries;
SCENE(wait_once) { about_to_wait(); std::call_once(once, [] { n_tries++; }); }
SCENE(hold_once)
{
    try {
        std::call_once(once, [] {
            n_tries++;
            start(wait_once);
            work_while_it_sleeps();
            throw std::runtime_error("not this time");
        });
    } catch (const std::runtime_error &error) {
        printf("call_once: %s\n", error.what());
    }
    waiter.join();
    printf("tries %d\n", n_tries);
}

#define RUN(name) {#name, hold_##name}
static const struct { const char *name; void (*run)(); } scenes[] = {
    RUN(mutex), RUN(recursive), RUN(timed), RUN(too_long), RUN(reading), RUN(writing), RUN(writing_timed),
    RUN(cond), RUN(cond_for), RUN(cond_until), RUN(cond_any), RUN(cond_in_vain), RUN(atomic), RUN(small_atomic),
    RUN(semaphore), RUN(semaphore_for), RUN(latch), RUN(barrier), RUN(future), RUN(join), RUN(once),
};

int main()
{
    for (const auto &scene : scenes) {
        scene.run();
        if (waiter.joinable())
            waiter.join();
        printf("%s\n", scene.name);
    }
    return 3;
}
