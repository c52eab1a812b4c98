#include "base/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/check.h"

enum { MANY_BYTES = 4 << 20 };

static void on_alarm(int signal)
{
    (void)signal;
}

/* Reads MANY_BYTES from a pipe, slowly enough for the writer to block. */
static void *read_many(void *fd)
{
    static unsigned char data[MANY_BYTES];
    size_t size = 0;
    ssize_t n;

    while ((n = read(*(int *)fd, data + size, MANY_BYTES - size)) != 0) {
        if (n > 0)
            size += (size_t)n;
        usleep(100);
    }
    return size == MANY_BYTES ? data : NULL;
}

TEST(fd_sink_writes_everything_despite_short_and_interrupted_writes)
{
    const struct sigaction action = {.sa_handler = on_alarm};  // without SA_RESTART
    const struct itimerval often =
                               {
                                   {0, 200},
                                   {0, 200}
    },
                           never = {{0, 0}, {0, 0}};
    unsigned char *data = malloc(MANY_BYTES);
    struct sink_fd sink;
    pthread_t reader;
    void *received;
    int fds[2];

    for (size_t i = 0; i < MANY_BYTES; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 13);
    CHECK_INT(pipe(fds), 0, "pipe");
    CHECK_INT(sigaction(SIGALRM, &action, NULL), 0, "sigaction");
    pthread_create(&reader, NULL, read_many, &fds[0]);
    setitimer(ITIMER_REAL, &often, NULL);
    sink_fd_init(&sink, fds[1]);
    CHECK_INT(sink_write(&sink.sink, data, MANY_BYTES), 0, "write");
    CHECK_INT(sink.n_bytes, MANY_BYTES, "counted");
    setitimer(ITIMER_REAL, &never, NULL);
    close(fds[1]);
    pthread_join(reader, &received);
    CHECK(received && !memcmp(received, data, MANY_BYTES));
    close(fds[0]);
    free(data);
}

TEST(fd_sink_returns_the_error_and_keeps_errno)
{
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    const struct {
        const char *what;
        int fd, err;
    } cases[] = {
        {"closed descriptor", -1,   -EBADF },
        {"full disk",         full, -ENOSPC},
    };

    errno = 4711;
    for (size_t i = 0; i < 2; i++) {
        struct sink_fd sink;
        sink_fd_init(&sink, cases[i].fd);
        CHECK_INT(sink_write(&sink.sink, "x", 1), cases[i].err, cases[i].what);
        CHECK_INT(sink.n_bytes, 0, cases[i].what);
    }
    CHECK_INT(errno, 4711, "errno");
    close(full);
}

TEST(fd_sink_counts_what_went_out_before_the_error)
{
    struct sink_fd sink;
    int fds[2];

    CHECK_INT(pipe2(fds, O_NONBLOCK), 0, "pipe");
    const int capacity = fcntl(fds[0], F_GETPIPE_SZ);
    char *data = calloc(1, (size_t)capacity + 1);
    sink_fd_init(&sink, fds[1]);
    CHECK_INT(sink_write(&sink.sink, data, (size_t)capacity + 1), -EAGAIN, "one too many");
    CHECK_INT(sink.n_bytes, capacity, "counted");
    free(data);
    close(fds[0]);
    close(fds[1]);
}

TEST(memory_sink_appends_until_full_and_never_a_part)
{
    char data[] = "........";
    struct sink_memory sink;

    sink_memory_init(&sink, data, 6);
    CHECK_INT(sink_write(&sink.sink, "abc", 3), 0, "fits");
    CHECK_INT(sink_write(&sink.sink, "defg", 4), -ENOSPC, "one too many");
    CHECK_INT(sink.size, 3, "nothing appended");
    CHECK_STR(data, "abc.....", "nothing appended");
    CHECK_INT(sink_write(&sink.sink, "xyz", 3), 0, "fits exactly");
    CHECK_INT(sink_write(&sink.sink, "", 0), 0, "nothing always fits");
    CHECK_INT(sink_write(&sink.sink, "!", 1), -ENOSPC, "full");
    CHECK_STR(data, "abcxyz..", "content");
}

TEST(memory_sink_without_memory_takes_nothing)
{
    struct sink_memory sink;

    sink_memory_init(&sink, NULL, 0);
    CHECK_INT(sink_write(&sink.sink, "", 0), 0, "nothing");
    CHECK_INT(sink_write(&sink.sink, "x", 1), -ENOSPC, "a byte");
}
