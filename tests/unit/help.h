/* help - what the tests of base/ and agent/ share: tests in a process of their own, threads that start
 * together, lines on descriptor 2, a library to load and unload. */
#ifndef CPROF_TESTS_HELP_H
#define CPROF_TESTS_HELP_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/stack.h"
#include "base/compiler.h"
#include "tests/check.h"

#if defined(__SANITIZE_THREAD__)
enum { WITH_TSAN = 1, WITH_ASAN = 0 };
/* A race ends the process that has it, also a forked one. */
const char *__tsan_default_options(void);
EXPORT const char *__tsan_default_options(void)
{
    return "halt_on_error=1:abort_on_error=0:exitcode=66";
}
#elif defined(__SANITIZE_ADDRESS__)
enum { WITH_TSAN = 0, WITH_ASAN = 1 };
#else
enum { WITH_TSAN = 0, WITH_ASAN = 0 };
#endif
/* Instrumented code is ten times slower, and so is an emulator (scripts/check-aarch64). */
#if defined(UNDER_EMULATOR)
enum { SCALE = 10 };
#else
enum { SCALE = WITH_TSAN || WITH_ASAN ? 10 : 1 };
#endif

#define CHECK_AT_MOST(got, most, what) \
    do { \
        double g_ = (double)(got), m_ = (double)(most); \
        if (!(g_ <= m_)) \
            FAIL("%s: %s = %g, want at most %g", what, #got, g_, m_); \
    } while (0)
#define CHECK_AT_LEAST(got, least, what) \
    do { \
        double g_ = (double)(got), l_ = (double)(least); \
        if (!(g_ >= l_)) \
            FAIL("%s: %s = %g, want at least %g", what, #got, g_, l_); \
    } while (0)
#define CHECK_HEX(got, want, what) \
    do { \
        uint64_t g_ = (uint64_t)(got), w_ = (uint64_t)(want); \
        if (g_ != w_) \
            FAIL("%s: %s = 0x%" PRIx64 ", want 0x%" PRIx64, what, #got, g_, w_); \
    } while (0)

static char scratch[256];

/* A new directory under $TMPDIR, the same one in each call. */
static inline const char *scratch_folder(void)
{
    const char *parent = getenv("TMPDIR");

    if (*scratch)
        return scratch;
    snprintf(scratch, sizeof scratch, "%s/cprof-unit-XXXXXX",
             parent && *parent ? parent : "/tmp");
    if (!mkdtemp(scratch))
        abort();
    return scratch;
}

/* Children leave by _exit and do not come here. */
__attribute__((destructor)) static void scratch_remove(void)
{
    char command[512];

    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    if (*scratch && system(command) != 0)
        perror(command);
}

/* What run() fails in a child fails here; so does a child that crashes. */
static inline void in_child(void (*run)(void))
{
    const char **why =
        mmap(NULL, sizeof *why, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;

    scratch_folder(); /* the parent removes it */
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        failures = 0;
        run();
        fflush(stdout);
        *why = skipped;
        _exit(failures ? 99 : 0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        FAIL("the test's process died of signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) == 99)
        failures++; /* it has said what */
    else
        CHECK_INT(WEXITSTATUS(status), 0, "exit status of the test's process");
    skipped = *why; /* literals lie at one address in both */
    munmap(why, sizeof *why);
}

/* A test that finds the state of the process as at its start. */
#define TEST_ALONE(name) \
    static void name##_alone(void); \
    TEST(name) \
    { \
        in_child(name##_alone); \
    } \
    static void name##_alone(void)

/* Calls work(0..n-1), each in a thread, all at once; returns when all are through. */
enum { THREADS_MAX = 16 };

struct gang {
    void (*work)(int i);
    pthread_barrier_t start;
};
struct gang_member {
    struct gang *gang;
    int i;
};

static inline void *gang_run(void *arg)
{
    const struct gang_member *member = arg;

    pthread_barrier_wait(&member->gang->start);
    member->gang->work(member->i);
    return NULL;
}

static inline void in_threads(int n, void (*work)(int i))
{
    struct gang gang = {.work = work};
    struct gang_member members[THREADS_MAX];
    pthread_t threads[THREADS_MAX];

    pthread_barrier_init(&gang.start, NULL, (unsigned)n);
    for (int i = 0; i < n; i++) {
        members[i] = (struct gang_member){&gang, i};
        if (pthread_create(&threads[i], NULL, gang_run, &members[i]))
            abort();
    }
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&gang.start);
}

/* A random number of the test's own; the same ones in every run. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* ---- what is written to descriptor 2 ---- */

struct capture {
    int saved, read_end;
};

static inline struct capture capture_begin(void)
{
    struct capture capture;
    int ends[2];

    fflush(stderr);
    if (pipe(ends) != 0)
        abort();
    capture = (struct capture){.saved = dup(2), .read_end = ends[0]};
    dup2(ends[1], 2);
    close(ends[1]);
    return capture;
}

/* Up to the pipe's 64 KiB. */
static inline const char *capture_end(struct capture capture)
{
    static char text[(64 << 10) + 1];
    size_t size = 0;
    ssize_t n;

    dup2(capture.saved, 2);
    close(capture.saved);
    while ((n = read(capture.read_end, text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)n;
    close(capture.read_end);
    text[size] = '\0';
    return text;
}

static inline size_t count_lines(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static inline void check_contains(const char *text, const char *part, const char *what)
{
    if (!strstr(text, part))
        FAIL("%s: \"%s\" lacks \"%s\"", what, text, part);
}

/* ---- files and a library ---- */

static inline const char *scratch_path(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder(), name);
    return path;
}

static inline void write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");

    if (!file || fputs(content, file) < 0 || fclose(file) != 0)
        FAIL("%s: cannot write", path);
}

/* Compiles `source` into a shared library; extra flags may follow.  Its path. */
static inline const char *make_library(const char *name, const char *source, const char *flags)
{
    char command[2048];
    const char *path = scratch_path(name), *c = scratch_path("library.c");

    write_file(c, source);
    snprintf(command, sizeof command,
             "unset LD_PRELOAD; ${CC:-cc} -shared -fPIC -O1 -g -fno-optimize-sibling-calls "
             "-Wl,--build-id -o '%s' '%s' %s",
             path, c, flags);
    if (system(command) != 0)
        FAIL("cannot build %s", path);
    return path;
}

/* As heap.c does: here when there is room, else on a scratch stack. */
static inline bool call_with_room(size_t room_bytes, void (*work)(void *arg), void *arg)
{
    if (!stack_has_room(room_bytes))
        return stack_call_on_scratch(work, arg);
    work(arg);
    return true;
}

#endif
