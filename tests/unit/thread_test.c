#include "agent/thread.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/process.h"
#include "agent/stack.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static void set_up(void)
{
    arena_set_cap(64 << 20, 0);
    process_init();
}

static size_t n_records(void)
{
    size_t n = 0;

    for (const struct thread *t = thread_first(); t; t = t->next)
        n++;
    return n;
}

/* ---- records ---- */

TEST_ALONE(a_thread_has_one_record_with_its_tid)
{
    set_up();
    CHECK(thread_first() == NULL);
    struct thread *thread = thread_record();
    CHECK(thread && thread_record() == thread && thread_first() == thread);
    CHECK_INT(load_relaxed(&thread->tid), syscall(SYS_gettid), "tid");
    CHECK_INT(n_records(), 1, "records");
}

static struct thread *of_thread[THREADS_MAX];
static pthread_barrier_t all_here;

static void take_record(int i)
{
    of_thread[i] = thread_record();
    pthread_barrier_wait(&all_here);
}

static void deny_tgkill(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {COUNT_OF(filter), filter};

    CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0, "no new privileges");
    CHECK_INT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0, "seccomp");
}

TEST_ALONE(a_sandbox_that_does_not_tell_who_lives_gets_new_records)
{
    set_up();
    deny_tgkill();
    pthread_barrier_init(&all_here, NULL, 4);
    in_threads(4, take_record);
    CHECK_INT(n_records(), 4, "records");
}

TEST_ALONE(living_threads_have_different_records)
{
    set_up();
    pthread_barrier_init(&all_here, NULL, 8);
    in_threads(8, take_record);
    for (int i = 0; i < 8; i++) {
        CHECK_AT_MOST(of_thread[i]->shard, THREAD_SHARDS - 1, "shard");
        for (int k = 0; k < i; k++) {
            CHECK(of_thread[i] != of_thread[k]);
            CHECK(of_thread[i]->shard != of_thread[k]->shard);
        }
    }
}

static void *count_one_drop(void *arg)
{
    thread_count_drop(SOURCE_HEAP, DROP_STACK_FULL);
    add_relaxed(&thread_record()->n_kept[SOURCE_HEAP], 2);
    return arg;
}

TEST_ALONE(of_many_threads_one_after_another_few_records_remain_and_all_counts)
{
    enum { N = 20000 / SCALE };

    set_up();
    for (int i = 0; i < N; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, count_one_drop, NULL)) {
            FAIL("thread %d", i);
            return;
        }
        pthread_join(thread, NULL);
    }
    /* A joined thread may be in the kernel for a moment yet. */
    CHECK_AT_MOST(n_records(), 50, "records");
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_STACK_FULL), N, "drops");
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_OVERFLOW), 0, "other drops");
    CHECK_INT(thread_sum_kept(SOURCE_HEAP), 2 * N, "kept");
}

static void start_and_join_many(int i)
{
    (void)i;
    for (int k = 0; k < 1000 / SCALE; k++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, count_one_drop, NULL))
            abort();
        pthread_join(thread, NULL);
    }
}

TEST_ALONE(threads_that_start_at_once_never_share_a_record_and_lose_no_count)
{
    set_up();
    in_threads(4, start_and_join_many);
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_STACK_FULL), 4 * (1000 / SCALE), "drops");
    CHECK_INT(thread_sum_kept(SOURCE_HEAP), 8 * (1000 / SCALE), "kept");
    CHECK_AT_MOST(n_records(), 100, "records");
}

TEST_ALONE(without_memory_a_thread_has_no_record_and_its_drops_count)
{
    arena_set_cap(0, 0);
    CHECK(thread_record() == NULL);
    thread_count_drop(SOURCE_HEAP, DROP_OVERFLOW);
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_OVERFLOW), 1, "drops");
}

/* ---- whose memory it is ---- */

#if defined(__SANITIZE_THREAD__)
enum { ANSWERS = 0 }; /* its vfork is a fork: memory of the child's own */
#else
enum { ANSWERS = 100 };
#endif
static int n_in_child;

static NOINLINE void ask_in_vfork(bool says_so)
{
    int status;

    if (says_so)
        thread_begin_vfork();
    const pid_t child = vfork();
    if (child == 0) {
        for (int i = 0; i < 100; i++)
            n_in_child += thread_is_borrowed();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

TEST_ALONE(a_vfork_child_knows_itself_however_often_it_asks)
{
    set_up();
    ask_in_vfork(true);
    CHECK_INT(n_in_child, ANSWERS, "answers in the child");
    CHECK(!thread_is_borrowed());
}

TEST_ALONE(a_few_questions_between_the_doubt_and_the_vfork_do_not_end_it)
{
    set_up();
    thread_begin_vfork();
    for (int i = 0; i < 5; i++)
        CHECK(!thread_is_borrowed());
    ask_in_vfork(false);
    CHECK_INT(n_in_child, ANSWERS, "answers in the child");
}

TEST_ALONE(a_parent_stops_asking)
{
    set_up();
    thread_begin_vfork();
    ask_in_vfork(false);
    for (int i = 0; i < 10; i++)
        CHECK(!thread_is_borrowed());
    CHECK_INT(thread_self.doubts, 0, "doubts");
    store_relaxed(&process_lends_memory, true);
    n_in_child = 0;
    ask_in_vfork(false);
    CHECK_INT(n_in_child, ANSWERS, "after a clone() it is always asked");
}

TEST_ALONE(a_vfork_childs_pid_is_not_taken_for_the_parents)
{
    set_up();
    store_relaxed(&process_self()->pid, 0); /* as after fork(): not asked yet */
    ask_in_vfork(true);
    CHECK_INT(process_pid(), getpid(), "pid");
    CHECK_INT(n_in_child, ANSWERS, "answers in the child");
}

TEST(every_drop_has_its_words)
{
    for (int why = 0; why < N_DROPS; why++) {
        CHECK(thread_drop_text((enum thread_drop)why) != NULL);
        for (int other = 0; other < why; other++)
            CHECK(strcmp(thread_drop_text((enum thread_drop)why),
                         thread_drop_text((enum thread_drop)other)) != 0);
    }
}

/* ---- the guard ---- */

NOINLINE static bool enter_deeper(int depth)
{
    volatile char frame[64];

    frame[0] = 0;
    return depth ? enter_deeper(depth - 1) && !frame[0] : guard_enter();
}

TEST_ALONE(the_guard_lets_in_once)
{
    set_up();
    for (int i = 0; i < 3; i++) {
        CHECK_INT(guard_enter(), true, "first");
        CHECK_INT(enter_deeper(1), false, "second");
        CHECK_INT(enter_deeper(100), false, "from far below");
        guard_leave();
    }
    CHECK_INT(enter_deeper(5), true, "after it went down");
    guard_leave();
}

static bool entered[THREADS_MAX];

static void enter_and_stay(int i)
{
    entered[i] = guard_enter();
    pthread_barrier_wait(&all_here);
    guard_leave();
}

TEST_ALONE(each_thread_has_a_guard_of_its_own)
{
    set_up();
    pthread_barrier_init(&all_here, NULL, 4);
    in_threads(4, enter_and_stay);
    for (int i = 0; i < 4; i++)
        CHECK_INT(entered[i], true, "entered");
}

static sigjmp_buf before;

static void jump_out(int number)
{
    (void)number;
    siglongjmp(before, 1);
}

/* Enters, and a signal handler leaves from within the agent. */
NOINLINE static void leave_by_siglongjmp(int depth)
{
    volatile char frame[256];

    frame[0] = 0;
    if (depth) {
        leave_by_siglongjmp(depth - 1);
    } else {
        CHECK_INT(guard_enter(), true, "enter");
        raise(SIGUSR1);
    }
    frame[0]++;
}

TEST_ALONE(a_guard_left_by_siglongjmp_is_found_stale)
{
    const struct sigaction action = {.sa_handler = jump_out};

    set_up();
    sigaction(SIGUSR1, &action, NULL);
    for (int depth = 0; depth < 20; depth++) {
        if (!sigsetjmp(before, 1))
            leave_by_siglongjmp(depth);
        CHECK_INT(guard_enter(), true, "from a shallower frame");
        guard_leave();
    }
}

/* A server that does this in a loop enters from the same depth each time. */
TEST_ALONE(a_guard_left_by_siglongjmp_at_the_same_depth_is_found_stale)
{
    const struct sigaction action = {.sa_handler = jump_out};
    volatile int n = 0;

    set_up();
    sigaction(SIGUSR1, &action, NULL);
    while (n < 10) {
        n = n + 1;
        if (!sigsetjmp(before, 1))
            leave_by_siglongjmp(3);
    }
}

static bool entered_in_handler;

static void enter_in_handler(int number)
{
    (void)number;
    entered_in_handler = guard_enter();
    if (entered_in_handler)
        guard_leave();
}

/* Where the alternate stack lies says nothing, so both orders are tried. */
TEST_ALONE(a_handler_on_an_alternate_stack_believes_the_guard)
{
    enum { SIZE = 256 << 10 };
    const struct sigaction action = {.sa_handler = enter_in_handler, .sa_flags = SA_ONSTACK};
    const uintptr_t places[] = {0x10000000000, 0x7f0000000000};

    set_up();
    sigaction(SIGUSR1, &action, NULL);
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        void *memory = mmap((void *)places[i], SIZE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        const stack_t alternate = {.ss_sp = memory, .ss_size = SIZE};
        sigaltstack(&alternate, NULL);
        entered_in_handler = true;
        CHECK_INT(guard_enter(), true, "enter");
        raise(SIGUSR1);
        CHECK_INT(entered_in_handler, false, "entered in the handler");
        guard_leave();
        raise(SIGUSR1);
        CHECK_INT(entered_in_handler, true, "entered in the handler when the guard is down");
    }
}

/* ---- the guard on a scratch stack ---- */

static bool entered_on_scratch;
static uintptr_t scratch_frame;

static void enter_on_scratch(void *arg)
{
    (void)arg;
    scratch_frame = (uintptr_t)__builtin_frame_address(0);
    entered_on_scratch = enter_deeper(2); /* as an allocation of the unwinder's would */
}

static void *work_on_a_small_stack(void *arg)
{
    CHECK_INT(guard_enter(), true, "enter");
    CHECK_INT(call_with_room(40 << 10, enter_on_scratch, arg), true, "room");
    const uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    CHECK(scratch_frame > frame || scratch_frame < frame - (20 << 10)); /* it was the scratch */
    guard_leave();
    return NULL;
}

/* A thread's stack is an mmapping like the scratch stack: either may be the higher one. */
TEST_ALONE(on_a_scratch_stack_the_guard_is_believed)
{
    enum { SIZE = 24 << 10 };
    const uintptr_t places[] = {0x10000000000, 0x7ffe00000000};

    set_up();
    if (WITH_TSAN || WITH_ASAN)
        SKIP("sanitizers need more than 24 KiB of stack for a thread");
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        pthread_attr_t attr;
        pthread_t thread;
        char *memory =
            mmap((void *)places[i], SIZE + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(memory + 4096, SIZE, PROT_READ | PROT_WRITE);
        pthread_attr_init(&attr);
        if (pthread_attr_setstack(&attr, memory + 4096, SIZE) != 0)
            SKIP("libc gives no thread 24 KiB of stack (aarch64: 128 KiB are the least)");
        CHECK_INT(pthread_create(&thread, &attr, work_on_a_small_stack, NULL), 0, "thread");
        pthread_join(thread, NULL);
        if (entered_on_scratch)
            FAIL("thread's stack at %" PRIxPTR ", scratch at %" PRIxPTR
                 ": the guard let in twice",
                 (uintptr_t)memory, scratch_frame);
    }
}
