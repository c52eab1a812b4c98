#include "agent/descriptors.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/help.h"

enum { LOW = 64, MANY = 256 };

struct seen {
    bool is_seen[MANY];
    size_t n;
};

static void see(int fd, void *arg)
{
    struct seen *seen = arg;

    CHECK(fd >= 0 && fd < MANY && !seen->is_seen[fd]);
    if (fd >= 0 && fd < MANY)
        seen->is_seen[fd] = true;
    seen->n++;
}

static struct seen listed(void)
{
    struct descriptors descriptors;
    struct seen seen = {.n = 0};

    descriptors_begin(&descriptors);
    CHECK(descriptors_each(&descriptors, see, &seen));
    descriptors_end(&descriptors);
    return seen;
}

/* True: they are the same ones. */
static bool finds_all(void)
{
    const struct seen expected = listed();
    struct descriptors descriptors;
    struct seen seen = {.n = 0};

    if (!descriptors_each_low(&descriptors, see, &seen))
        return false;
    CHECK_INT(seen.n, expected.n, "descriptors");
    CHECK(memcmp(seen.is_seen, expected.is_seen, sizeof seen.is_seen) == 0);
    CHECK(descriptor_is_open(&descriptors, STDERR_FILENO));
    return true;
}

static bool kernel_counts(void)
{
    struct stat st;

    return stat("/proc/self/fd", &st) == 0 && st.st_size > 0;
}

/* What whoever started us has left open may lie anywhere. */
static void set_up(void)
{
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
}

TEST_ALONE(low_ones_are_found_without_a_list)
{
    set_up();
    if (!kernel_counts())
        SKIP("the kernel does not say how many there are, before Linux 6.2");
    if (!__libc_single_threaded)
        SKIP("a sanitizer has a thread of its own");
    CHECK(finds_all());
    const int fd = fcntl(STDERR_FILENO, F_DUPFD, LOW - 1);
    CHECK_INT(fd, LOW - 1, "the last low one");
    CHECK(finds_all());
    close(fd);
}

TEST_ALONE(high_ones_are_to_be_listed)
{
    set_up();
    const int fd = fcntl(STDERR_FILENO, F_DUPFD, LOW);

    CHECK_INT(fd, LOW, "the first high one");
    CHECK(!finds_all());
    close(fd);
}

TEST_ALONE(many_are_to_be_listed)
{
    int fds[LOW];

    set_up();
    for (int i = 0; i < LOW; i++)
        fds[i] = dup(STDERR_FILENO);
    CHECK(!finds_all());
    for (int i = 0; i < LOW; i++)
        close(fds[i]);
}

/* /proc/self shows those of the first thread. */
static void *finds_none(void *unused)
{
    struct descriptors descriptors;
    struct seen seen = {.n = 0};

    (void)unused;
    CHECK(!descriptors_each_low(&descriptors, see, &seen));
    CHECK_INT(seen.n, 0, "visited");
    return NULL;
}

TEST_ALONE(another_thread_is_to_list_them)
{
    pthread_t thread;

    set_up();
    CHECK(pthread_create(&thread, NULL, finds_none, NULL) == 0);
    pthread_join(thread, NULL);
}
