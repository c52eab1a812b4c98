#include "agent/stack.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "agent/process.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/sys.h"
#include "tests/unit/help.h"

/* Frames of the test's own program are the agent's own here and never shown, so the functions that
 * are looked for stand in a library. */
static const char *const chain =
    "typedef void f(void *);\n"
    "__attribute__((noinline)) void c(f *work, void *arg) { work(arg); __asm__(\"\"); }\n"
    "__attribute__((noinline)) void b(f *work, void *arg) { c(work, arg); __asm__(\"\"); }\n"
    "__attribute__((noinline)) void a(f *work, void *arg) { b(work, arg); __asm__(\"\"); }\n"
    "__attribute__((noinline)) int deep(int n, f *work, void *arg)\n"
    "{ if (n > 1) return deep(n - 1, work, arg) + 1; work(arg); return 1; }\n";

static void (*a)(void (*work)(void *), void *arg);
static int (*deep)(int n, void (*work)(void *), void *arg);

static bool set_up(void)
{
    void *handle = dlopen(make_library("libchain.so", chain, ""), RTLD_NOW);

    a = (void (*)(void (*)(void *), void *))dlsym(handle, "a");
    deep = (int (*)(int, void (*)(void *), void *))dlsym(handle, "deep");
    arena_set_cap(64 << 20, 0);
    process_init();
    return stack_init() == 0;
}

static uintptr_t pcs[STACK_DEPTH_MAX + STACK_OWN_FRAMES];
static size_t n_pcs;
static bool truncated;
static size_t max = STACK_DEPTH_MAX;

NOINLINE static void capture(void *arg)
{
    (void)arg;
    memset(pcs, 0xee, sizeof pcs);
    n_pcs = stack_capture(NULL, pcs, max, &truncated);
}

static void capture_guarded(void *arg)
{
    if (guard_enter()) {
        capture(arg);
        guard_leave();
    } else {
        FAIL("%s", "the guard is up");
    }
}

static const char *name_at(size_t i)
{
    Dl_info info;

    return i < n_pcs && dladdr((void *)(pcs[i] - 1), &info) && info.dli_sname ? info.dli_sname
                                                                              : "(none)";
}

/* ---- capture ---- */

TEST_ALONE(callers_come_innermost_first_and_without_frames_of_the_agent)
{
    if (!set_up())
        SKIP("no unwinder");
    a(capture_guarded, NULL);
    CHECK_STR(name_at(0), "c", "frame 0");
    CHECK_STR(name_at(1), "b", "frame 1");
    CHECK_STR(name_at(2), "a", "frame 2");
    CHECK_INT(truncated, false, "truncated");
    CHECK_AT_LEAST(n_pcs, 4, "frames, with libc's start of main");
    for (size_t i = 0; i < n_pcs; i++) {
        Dl_info info;
        if (dladdr((void *)(pcs[i] - 1), &info) && strstr(info.dli_fname, "stack_test"))
            FAIL("frame %zu lies in the test's program", i);
    }
}

TEST_ALONE(a_cap_of_0_leaves_the_stacks_complete)
{
    if (!set_up())
        SKIP("no unwinder");
    a(capture_guarded, NULL);
    const size_t n = n_pcs;
    arena_set_cap(0, 0);
    deep(50, capture_guarded, NULL); /* new code, so new rules */
    CHECK_STR(name_at(0), "deep", "frame 0");
    CHECK_AT_LEAST(n_pcs, 50, "frames");
    a(capture_guarded, NULL);
    CHECK_INT(n_pcs, n, "frames");
}

TEST_ALONE(the_inner_frames_are_kept_and_truncation_is_said)
{
    static const size_t maxima[] = {1, 2, 5, 64, 128, 1000, STACK_DEPTH_MAX};

    if (!set_up())
        SKIP("no unwinder");
    for (size_t i = 0; i < COUNT_OF(maxima); i++) {
        max = maxima[i];
        deep((int)max + 50, capture_guarded, NULL);
        CHECK_INT(n_pcs, max, "frames");
        CHECK_INT(truncated, true, "truncated");
        for (size_t k = 0; k < n_pcs; k++)
            CHECK_STR(name_at(k), "deep", "frame");
    }
}

TEST_ALONE(a_stack_that_just_fits_is_not_truncated)
{
    if (!set_up())
        SKIP("no unwinder");
    a(capture_guarded, NULL);
    const size_t n = n_pcs;
    max = n;
    a(capture_guarded, NULL);
    CHECK_INT(n_pcs, n, "frames");
    CHECK_INT(truncated, false, "truncated");
    max = n - 1;
    a(capture_guarded, NULL);
    CHECK_INT(n_pcs, n - 1, "frames");
    CHECK_INT(truncated, true, "truncated");
}

TEST_ALONE(the_same_place_gives_the_same_stack)
{
    static uintptr_t first[STACK_DEPTH_MAX];
    size_t n_first = 0;

    if (!set_up())
        SKIP("no unwinder");
    for (int i = 0; i < 3; i++) {
        a(capture_guarded, NULL);
        if (i == 0) {
            n_first = n_pcs;
            memcpy(first, pcs, sizeof first);
        }
        CHECK_INT(n_pcs, n_first, "frames");
        CHECK_INT(memcmp(pcs, first, n_first * sizeof *pcs), 0, "stacks");
    }
}

/* ---- room ---- */

struct visit {
    size_t room_bytes;
    uintptr_t frame;    /* where the work was done */
    sys_sigset blocked; /* the signal mask there */
    bool was_called, result;
};

static void see_frame(void *arg)
{
    struct visit *visit = arg;
    volatile char space[1024];

    space[0] = space[1023] = 1;
    visit->frame = (uintptr_t)__builtin_frame_address(0);
    visit->was_called = space[0];
    sys_sigmask(SIG_BLOCK, NULL, &visit->blocked);
    if (a)
        capture(NULL);
}

static void ask_for_room(void *arg)
{
    struct visit *visit = arg;

    if (!guard_enter()) {
        FAIL("%s", "the guard is up");
        return;
    }
    errno = 4711;
    visit->result = call_with_room(visit->room_bytes, see_frame, visit);
    CHECK_INT(errno, 4711, "errno");
    guard_leave();
    sys_sigset after;
    sys_sigmask(SIG_BLOCK, NULL, &after);
    CHECK_HEX(after, 0, "blocked afterwards");
}

static bool is_near(uintptr_t x, uintptr_t y)
{
    return (x > y ? x - y : y - x) < 16 << 10;
}

TEST_ALONE(with_room_the_work_is_done_here)
{
    struct visit visit = {.room_bytes = 32 << 10};

    set_up();
    const size_t used_bytes = arena_used_bytes();
    ask_for_room(&visit);
    CHECK(visit.result && visit.was_called);
    if (!WITH_ASAN) /* its frames may lie elsewhere */
        CHECK(is_near(visit.frame, (uintptr_t)__builtin_frame_address(0)));
    CHECK_INT(arena_used_bytes(), used_bytes, "no scratch stack");
    CHECK_HEX(visit.blocked, 0, "blocked signals");
}

/* A coroutine on a stack of its own between two pages that cannot be touched. */
static char *stack_base;
static size_t stack_size;
static ucontext_t of_main, of_coroutine;
static void (*coroutine_work)(void *arg);
static void *coroutine_arg;

static void coroutine(void)
{
    coroutine_work(coroutine_arg);
}

static void on_small_stack(size_t size, void (*work)(void *arg), void *arg)
{
    char *memory = mmap(NULL, size + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    stack_base = memory + 4096;
    stack_size = size;
    mprotect(stack_base, size, PROT_READ | PROT_WRITE);
    coroutine_work = work;
    coroutine_arg = arg;
    getcontext(&of_coroutine);
    of_coroutine.uc_stack.ss_sp = stack_base;
    of_coroutine.uc_stack.ss_size = size;
    of_coroutine.uc_link = &of_main;
    makecontext(&of_coroutine, coroutine, 0);
    swapcontext(&of_main, &of_coroutine);
    munmap(memory, size + 8192);
}

static bool is_on_small_stack(uintptr_t frame)
{
    return frame - (uintptr_t)stack_base < stack_size;
}

static void through_the_chain(void *arg)
{
    a(ask_for_room, arg);
}

#define NEEDS_PLAIN_STACKS() \
    do { \
        if (WITH_TSAN || WITH_ASAN) \
            SKIP("sanitizers do not know stacks of that size"); \
    } while (0)

TEST_ALONE(without_room_the_work_is_done_on_a_scratch_stack_and_signals_wait)
{
    struct visit visit = {.room_bytes = 20 << 10};

    NEEDS_PLAIN_STACKS();
    if (!set_up())
        SKIP("no unwinder");
    on_small_stack(16 << 10, through_the_chain, &visit);
    CHECK(visit.result && visit.was_called);
    CHECK(!is_on_small_stack(visit.frame));
    CHECK(!is_near(visit.frame, (uintptr_t)__builtin_frame_address(0)));
    CHECK_HEX(visit.blocked | 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1), ~0ull, "blocked");
    CHECK_INT(thread_self.scratch, 0, "scratch");
    /* Unwinders walk from the scratch stack to the small one. */
    CHECK_STR(name_at(0), "c", "frame 0");
    CHECK_STR(name_at(1), "b", "frame 1");
    CHECK_STR(name_at(2), "a", "frame 2");
}

TEST_ALONE(a_small_stack_with_room_enough_is_used)
{
    struct visit visit = {.room_bytes = 4 << 10};

    NEEDS_PLAIN_STACKS();
    set_up();
    on_small_stack(16 << 10, through_the_chain, &visit);
    CHECK(visit.result && is_on_small_stack(visit.frame));
}

static void fill_stack_and_ask(void *arg)
{
    char space[12 << 10];

    __asm__ volatile("" : : "r"(space) : "memory"); /* it is all needed, before and after */
    ask_for_room(arg);
    __asm__ volatile("" : : "r"(space) : "memory");
}

TEST_ALONE(room_is_judged_where_the_thread_stands_not_by_the_size_of_its_stack)
{
    struct visit high = {.room_bytes = 6 << 10}, low = {.room_bytes = 6 << 10};

    NEEDS_PLAIN_STACKS();
    set_up();
    on_small_stack(16 << 10, ask_for_room, &high);
    CHECK(high.result && is_on_small_stack(high.frame));
    on_small_stack(16 << 10, fill_stack_and_ask, &low);
    CHECK(low.result && !is_on_small_stack(low.frame));
}

static bool is_own_in_coroutine;

static void ask_whose(void *arg)
{
    ask_for_room(arg);
    is_own_in_coroutine = stack_is_own((uintptr_t)__builtin_frame_address(0));
}

static void *ask_on_both(void *arg)
{
    struct visit visit = {.room_bytes = 6 << 10};

    is_own_in_coroutine = true;
    on_small_stack(64 << 10, ask_whose, &visit); /* also before its own is known */
    CHECK_INT(is_own_in_coroutine, false, "a coroutine's stack");
    CHECK(stack_is_own((uintptr_t)__builtin_frame_address(0)));
    const uintptr_t low = thread_self.stack_low;
    on_small_stack(64 << 10, ask_whose, &visit);
    CHECK_INT(is_own_in_coroutine, false, "a coroutine's stack");
    CHECK_HEX(thread_self.stack_low, low, "what is known");
    return arg;
}

TEST_ALONE(of_a_stack_that_is_not_the_threads_own_nothing_is_remembered)
{
    pthread_t thread;

    NEEDS_PLAIN_STACKS();
    set_up();
    ask_on_both(NULL);
    CHECK_INT(pthread_create(&thread, NULL, ask_on_both, NULL), 0, "thread");
    pthread_join(thread, NULL);
}

TEST_ALONE(a_scratch_stack_is_used_again_and_again)
{
    size_t used_bytes = 0;

    NEEDS_PLAIN_STACKS();
    set_up();
    for (int i = 0; i < 200; i++) {
        struct visit visit = {.room_bytes = 20 << 10};
        on_small_stack(16 << 10, ask_for_room, &visit);
        CHECK(visit.result);
        if (i == 0)
            used_bytes = arena_used_bytes();
    }
    CHECK_INT(arena_used_bytes(), used_bytes, "memory");
}

TEST_ALONE(without_room_and_memory_the_work_is_not_done)
{
    struct visit visit = {.room_bytes = 20 << 10};

    NEEDS_PLAIN_STACKS();
    set_up();
    arena_set_cap(0, 0);
    on_small_stack(16 << 10, ask_for_room, &visit);
    CHECK(!visit.result && !visit.was_called);
    CHECK_INT(thread_self.scratch, 0, "scratch");
    arena_set_cap(1 << 20, 0);
    on_small_stack(16 << 10, ask_for_room, &visit);
    CHECK(visit.result);
}

/* ---- left by siglongjmp ---- */

static sigjmp_buf before;

static void leave(void *arg)
{
    (void)arg;
    siglongjmp(before, 1); /* as a handler of SIGSEGV would */
}

static void ask_and_leave(void *arg)
{
    CHECK(guard_enter());
    call_with_room(20 << 10, leave, arg);
}

static void leave_from_scratch(void *arg)
{
    if (!sigsetjmp(before, 1))
        ask_and_leave(arg);
}

TEST_ALONE(a_scratch_stack_left_by_siglongjmp_is_given_back_at_the_next_entry)
{
    NEEDS_PLAIN_STACKS();
    set_up();
    for (int i = 0; i < 50; i++) { /* more often than there are scratch stacks */
        on_small_stack(16 << 10, leave_from_scratch, NULL);
        CHECK(thread_self.scratch != 0);
        thread_self.guard_frame = 8; /* that stack is gone: any frame is above it */
        CHECK_INT(guard_enter(), true, "next entry");
        CHECK_INT(thread_self.scratch, 0, "scratch");
        guard_leave();
        sys_sigset after;
        sys_sigmask(SIG_BLOCK, NULL, &after);
        CHECK_HEX(after, 0, "blocked signals");
    }
}

/* ---- many threads ---- */

static void work_alone(void *arg)
{
    volatile int *mine = arg;
    volatile char space[2048];

    for (size_t i = 0; i < sizeof space; i++)
        space[i] = (char)*mine;
    for (size_t i = 0; i < sizeof space; i++)
        if (space[i] != *mine)
            *mine = -1;
}

static void *ask_many_times(void *arg)
{
    int number = (int)(intptr_t)arg, n_done = 0;

    for (int i = 0; i < 2000 && number > 0; i++) {
        guard_enter();
        n_done += call_with_room(40 << 10, work_alone, &number);
        guard_leave();
    }
    return number < 0 ? NULL : (void *)(intptr_t)n_done;
}

TEST_ALONE(threads_never_share_a_scratch_stack)
{
    enum { N = 8 };
    pthread_t threads[N];
    pthread_attr_t attr;

    NEEDS_PLAIN_STACKS();
    arena_set_cap(64 << 20, 0);
    process_init();
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 24 << 10);
    for (int i = 0; i < N; i++)
        CHECK_INT(pthread_create(&threads[i], &attr, ask_many_times, (void *)(intptr_t)(i + 1)),
                  0, "thread");
    for (int i = 0; i < N; i++) {
        void *n_done;
        pthread_join(threads[i], &n_done);
        CHECK_INT((intptr_t)n_done, 2000, "times that the work was done");
    }
}
