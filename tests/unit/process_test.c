#include "agent/process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "tests/unit/help.h"

TEST_ALONE(the_first_question_fills_the_page)
{
    const uint64_t before_ns = clock_wall_ns();

    CHECK_INT(process_init(), 0, "init");
    CHECK_INT(process_pid(), getpid(), "pid");
    CHECK_INT(load_relaxed(&process_self()->n_snapshots), 0, "snapshots");
    const uint64_t start_ns = load_relaxed(&process_self()->start_ns);
    CHECK(start_ns >= before_ns && start_ns <= clock_wall_ns());
    CHECK_INT(process_is_borrowed(), false, "borrowed");
    CHECK(process_self() == process_self());
}

TEST_ALONE(it_works_before_init)
{
    CHECK_INT(process_pid(), getpid(), "pid");
    CHECK_INT(process_is_borrowed(), false, "borrowed");
}

static void check_child(uint64_t parent_start_ns, int parent)
{
    CHECK_INT(process_is_borrowed(), false, "borrowed");
    CHECK_INT(process_pid(), getpid(), "pid");
    CHECK(process_pid() != parent);
    CHECK_INT(load_relaxed(&process_self()->n_snapshots), 0, "snapshots");
    CHECK(load_relaxed(&process_self()->start_ns) > parent_start_ns);
    add_relaxed(&process_self()->n_snapshots, 3);
}

static void fork_and_check(int depth)
{
    const uint64_t start_ns = load_relaxed(&process_self()->start_ns);
    const int parent = getpid();
    int status;

    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        check_child(start_ns, parent);
        if (depth)
            fork_and_check(depth - 1);
        fflush(stdout);
        _exit(failures != 0);
    }
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, "child");
}

TEST_ALONE(a_forked_child_and_its_child_start_anew)
{
    process_init();
    add_relaxed(&process_self()->n_snapshots, 5);
    fork_and_check(2);
    CHECK_INT(process_pid(), getpid(), "pid of the parent");
    CHECK_INT(load_relaxed(&process_self()->n_snapshots), 5, "snapshots of the parent");
}

struct seen {
    int pid, own_pid;
    bool is_borrowed;
};

static int look(void *arg)
{
    struct seen *seen = arg;

    *seen = (struct seen){process_pid(), getpid(), process_is_borrowed()};
    return 0;
}

TEST_ALONE(a_child_in_its_parents_memory_is_borrowed)
{
    static char stack[64 << 10] ALIGNED(16);
    struct seen seen = {0};
    int status;

    if (WITH_TSAN)
        SKIP("TSan's runtime does not survive CLONE_VM");
    process_init();
    process_self();
    const pid_t child =
        clone(look, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &seen);
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, "child");
    CHECK_INT(seen.own_pid, child, "pid that the kernel says");
    CHECK_INT(seen.pid, getpid(), "pid of the page: the parent's");
    CHECK_INT(seen.is_borrowed, true, "borrowed");
    CHECK_INT(process_is_borrowed(), false, "borrowed in the parent");
}

static void ask(int i)
{
    (void)i;
    CHECK_INT(process_pid(), getpid(), "pid");
}

TEST_ALONE(threads_that_ask_first_at_once_agree)
{
    process_init();
    in_threads(8, ask);
}

/* What a child finds whose parent was started with `environment`. */
static bool finds(bool (*has)(void), const char *environment)
{
    static char name[] = "sh", option[] = "-c", script[] = "echo; read line";
    char *const arguments[] = {name, option, script, NULL};
    char *const variables[] = {(char *)(uintptr_t)environment, NULL};
    int ends[2], never[2], status;

    CHECK_INT(pipe(ends), 0, "pipe");
    CHECK_INT(pipe(never), 0, "a pipe without a line");
    const pid_t parent = fork();
    if (parent == 0) {
        /* The child asks once its parent has become a program with that environment and runs: the end of
         * exec's closing is too early, /proc has no environment then. */
        const pid_t asked = getpid();
        if (fork() == 0) {
            char byte = 0;
            close(ends[1]);
            if (read(ends[0], &byte, 1) != 1)
                _exit(9);
            status = getppid() == asked && has();
            kill(asked, status ? SIGUSR1 : SIGUSR2);
            _exit(0);
        }
        dup2(never[0], 0);
        dup2(ends[1], 1);
        execve("/bin/sh", arguments, variables);
        _exit(8);
    }
    close(ends[0]);
    close(ends[1]);
    waitpid(parent, &status, 0);
    close(never[0]);
    close(never[1]);
    CHECK(WIFSIGNALED(status));
    return WTERMSIG(status) == SIGUSR1;
}

static bool finds_preload(const char *environment)
{
    return finds(process_has_preloaded_parent, environment);
}

static bool finds_server(const char *environment)
{
    return finds(process_is_of_serving_tree, environment);
}

TEST_ALONE(a_parent_that_was_told_to_serve_is_known)
{
    CHECK_INT(finds_server("CPROF_HTTP=6060"), true, "a port");
    CHECK_INT(finds_server("CPROF_HTTP_PREFIX=/x"), false, "another variable");
    CHECK_INT(finds_server("MY_CPROF_HTTP=6060"), false, "one that ends so");
    CHECK_INT(finds_server("A=CPROF_HTTP=6060"), false, "inside a value");
}

TEST_ALONE(a_parent_with_the_library_is_known)
{
    static char large[100000];

    memset(large, 'x', sizeof large - 1);
    memcpy(large, "A=", 2);
    CHECK_INT(finds_preload("LD_PRELOAD=/usr/lib/libcprof.so"), true, "alone");
    CHECK_INT(finds_preload("LD_PRELOAD=liblib.so:/a/lilibcprof-12.so"), true, "a link");
    CHECK_INT(finds_preload("LD_PRELOAD=libcpro.so"), false, "another library");
    CHECK_INT(finds_preload("XLD_PRELOAD=libcprof.so"), false, "another variable");
    CHECK_INT(finds_preload("A=LD_PRELOAD=libcprof.so"), false, "inside a value");
    CHECK_INT(finds_preload(large), false, "a large one");
}

/* Its age is between the times since this process forked and since the child was seen to run. */
static void check_age(uint64_t forked_ns, uint64_t runs_ns)
{
    enum { TICK_NS = 10000000 }; /* what the kernel says is rounded down */
    const uint64_t least = clock_mono_ns() - runs_ns;
    const uint64_t age = process_age_ns();

    CHECK_AT_LEAST(age, least, "age");
    CHECK_AT_MOST(age, clock_mono_ns() - forked_ns + TICK_NS, "age");
}

TEST_ALONE(the_age_counts_from_the_fork)
{
    process_init();
    usleep(100000); /* the parent is older */
    const uint64_t forked_ns = clock_mono_ns();
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        const uint64_t runs_ns = clock_mono_ns();
        check_age(forked_ns, runs_ns);
        usleep(300000);
        check_age(forked_ns, runs_ns);
        fflush(stdout);
        _exit(failures != 0);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, "the child's age");
}
