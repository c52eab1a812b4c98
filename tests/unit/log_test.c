#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/sink.h"
#include "tests/unit/help.h"

static char content[8192];

static const char *read_file(const char *path)
{
    const int fd = open(path, O_RDONLY);
    const ssize_t n = fd < 0 ? -1 : read(fd, content, sizeof content - 1);

    if (fd >= 0)
        close(fd);
    content[n > 0 ? n : 0] = '\0';
    return content;
}

TEST_ALONE(a_line_on_stderr_begins_with_cprof)
{
    const struct capture capture = capture_begin();

    log_init();
    log_warn("dump: %s: %d", "/x", 3);
    CHECK_STR(capture_end(capture), "cprof: dump: /x: 3\n", "stderr");
}

TEST_ALONE(nothing_is_written_before_init)
{
    const struct capture capture = capture_begin();

    log_warn("too early");
    CHECK_STR(capture_end(capture), "", "stderr");
}

TEST_ALONE(only_lines_up_to_the_level_are_written)
{
    static const char *const want[] = {
        "cprof: 0\n",
        "cprof: 0\ncprof: 1\n",
        "cprof: 0\ncprof: 1\ncprof: 2\n",
        "cprof: 0\ncprof: 1\ncprof: 2\ncprof: 3\n",
    };

    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
        const struct capture capture = capture_begin();
        log_init();
        log_configure((enum log_level)level, NULL);
        for (int of = LOG_ERROR; of <= LOG_DEBUG; of++)
            log_line((enum log_level)of, "%d", of);
        CHECK_STR(capture_end(capture), want[level], "lines");
    }
}

TEST_ALONE(a_descriptor_2_that_became_something_else_is_not_written)
{
    const char *path = scratch_path("data_file");
    const struct capture capture = capture_begin();

    log_init();
    const int at_start = dup(2), file = open(path, O_CREAT | O_RDWR, 0600);
    dup2(file, 2); /* a daemon's data file */
    log_warn("into somebody's data");
    close(2);
    log_warn("into nothing");
    dup2(at_start, 2); /* the same pipe again */
    log_warn("heard");
    close(at_start);
    CHECK_STR(capture_end(capture), "cprof: heard\n", "stderr");
    CHECK_STR(read_file(path), "", "data file");
    close(file);
}

TEST_ALONE(another_file_on_the_same_device_is_not_stderr)
{
    const char *first = scratch_path("first"), *second = scratch_path("second");
    const int saved = dup(2), log = open(first, O_CREAT | O_RDWR, 0600),
              data = open(second, O_CREAT | O_RDWR, 0600);

    dup2(log, 2);
    log_init();
    log_warn("heard");
    dup2(data, 2);
    log_warn("into somebody's data");
    dup2(saved, 2);
    CHECK_STR(read_file(first), "cprof: heard\n", "stderr");
    CHECK_STR(read_file(second), "", "data file");
}

TEST_ALONE(stderr_that_was_closed_at_start_stays_silent)
{
    const char *path = scratch_path("opened_as_2");
    const int saved = dup(2);

    close(2);
    log_init();
    const int file = open(path, O_CREAT | O_RDWR, 0600);
    CHECK_INT(file, 2, "lowest free descriptor");
    log_warn("into somebody's data");
    dup2(saved, 2);
    CHECK_STR(read_file(path), "", "file that got descriptor 2");
}

TEST_ALONE(a_log_file_gets_pid_and_level_and_no_descriptor_stays_open)
{
    const char *path = scratch_path("log_file");
    const struct capture capture = capture_begin();
    char want[128];
    int next;

    log_init();
    log_configure(LOG_INFO, path);
    const int lowest = dup(0);
    close(lowest);
    log_warn("one");
    log_info("two");
    log_line(LOG_DEBUG, "three");
    next = dup(0);
    CHECK_INT(next, lowest, "lowest free descriptor afterwards");
    close(next);
    snprintf(want, sizeof want, "cprof[%d]: warn: one\ncprof[%d]: info: two\n", getpid(),
             getpid());
    CHECK_STR(read_file(path), want, "log file");
    CHECK_STR(capture_end(capture), "", "stderr");
}

TEST_ALONE(a_log_file_that_cannot_be_opened_is_said_once_and_its_lines_go_to_stderr)
{
    const struct capture capture = capture_begin();
    char want[256];

    log_init();
    log_configure(LOG_WARN, "/no such directory/file");
    log_warn("one");
    log_warn("two");
    snprintf(
        want, sizeof want,
        "cprof: log: CPROF_LOG: No such file or directory; using stderr instead of /no such "
        "directory/file\ncprof[%d]: warn: one\ncprof[%d]: warn: two\n",
        getpid(), getpid());
    CHECK_STR(capture_end(capture), want, "stderr");
}

TEST_ALONE(a_fifo_without_a_reader_as_log_file_is_not_waited_for)
{
    const char *path = scratch_path("fifo");
    const struct capture capture = capture_begin();

    CHECK_INT(mkfifo(path, 0600), 0, "mkfifo");
    log_init();
    log_configure(LOG_WARN, path);
    alarm(60); /* a hang ends the test's process */
    log_warn("heard");
    alarm(0);
    check_contains(capture_end(capture), "warn: heard\n", "stderr");
}

/* ---- signals that a write brings ---- */

static bool is_pending(int signal)
{
    sigset_t set;

    sigpending(&set);
    return sigismember(&set, signal);
}

/* Descriptor 2 becomes a pipe that nobody reads.  What it was. */
static int break_stderr(void)
{
    const int saved = dup(2);
    int ends[2];

    CHECK_INT(pipe(ends), 0, "pipe");
    dup2(ends[1], 2);
    close(ends[1]);
    log_init();
    close(ends[0]);
    return saved;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0, "setrlimit");
}

static void write_to_broken_stderr(void)
{
    const int saved = break_stderr();

    log_warn("into nothing");
    dup2(saved, 2);
    close(saved);
}

static void write_to_full_log(void)
{
    log_init();
    log_configure(LOG_WARN, scratch_path("full"));
    limit_files(0);
    log_warn("into nothing");
    limit_files(RLIM_INFINITY);
}

static void write_to_full_file(void)
{
    const int fd = open(scratch_path("full"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    struct sink_fd sink;

    sink_fd_init(&sink, fd);
    limit_files(0);
    CHECK_INT(sink_write(&sink.sink, "x", 1), -EFBIG, "write");
    limit_files(RLIM_INFINITY);
    close(fd);
}

static const struct {
    const char *what;
    int signal;
    void (*write)(void);
} deadly_writes[] = {
    {"stderr without a reader", SIGPIPE, write_to_broken_stderr},
    {"log file over its limit", SIGXFSZ, write_to_full_log     },
    {"output over its limit",   SIGXFSZ, write_to_full_file    },
};

TEST_ALONE(no_write_kills_the_program_or_leaves_it_a_signal)
{
    for (size_t i = 0; i < COUNT_OF(deadly_writes); i++) {
        sigset_t set;
        deadly_writes[i].write(); /* dies here without the care */
        sigemptyset(&set);
        sigaddset(&set, deadly_writes[i].signal);
        sigprocmask(SIG_BLOCK, &set, NULL);
        deadly_writes[i].write();
        CHECK_INT(is_pending(deadly_writes[i].signal), false, deadly_writes[i].what);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
    }
}

TEST_ALONE(a_signal_of_the_programs_own_that_was_pending_stays)
{
    for (size_t i = 0; i < COUNT_OF(deadly_writes); i++) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, deadly_writes[i].signal);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(deadly_writes[i].signal);
        deadly_writes[i].write();
        CHECK_INT(is_pending(deadly_writes[i].signal), true, deadly_writes[i].what);
        while (is_pending(deadly_writes[i].signal))
            sigwaitinfo(&set, NULL);
    }
}

TEST_ALONE(a_long_line_is_cut_and_still_ends)
{
    char *words = calloc(1, 5000);
    const struct capture capture = capture_begin();

    memset(words, 'w', 4999);
    log_init();
    log_warn("%s", words);
    const char *line = capture_end(capture);
    CHECK_INT(count_lines(line), 1, "lines");
    CHECK_INT(strlen(line), 1023, "length");
    CHECK_INT(line[strlen(line) - 1], '\n', "end");
    free(words);
}

static void say_three_times(int i)
{
    (void)i;
    for (int k = 0; k < 3; k++)
        log_warn_once("once");
}

TEST_ALONE(warn_once_says_it_once_also_from_many_threads)
{
    const struct capture capture = capture_begin();

    log_init();
    in_threads(4, say_three_times);
    CHECK_STR(capture_end(capture), "cprof: once\n", "stderr");
}
