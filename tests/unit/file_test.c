#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/help.h"

enum { MANY_BYTES = 300000 };

static void put(const char *path, const char *bytes, size_t n)
{
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    CHECK_INT(write(fd, bytes, n), n, "write");
    close(fd);
}

static int lowest_free_descriptor(void)
{
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    close(fd);
    return fd;
}

TEST(a_file_of_proc_is_read_and_ends_in_a_nul)
{
    char data[64], wanted[64], small[4] = "xyz";

    snprintf(wanted, sizeof wanted, "%d (", getpid());
    CHECK_INT(file_read_proc("/proc/self/stat", data, sizeof data), sizeof data - 1, "cut");
    CHECK_INT(strncmp(data, wanted, strlen(wanted)), 0, "its begin");
    CHECK_INT(strlen(data), sizeof data - 1, "the NUL");
    CHECK_INT(file_read_proc("/proc/self/stat", small, sizeof small), 3, "a smaller piece");
    CHECK_INT(strncmp(small, wanted, 3), 0, "the same begin");
}

TEST(what_is_not_there_is_an_error_and_an_empty_text)
{
    char data[8] = "before";
    const int free_one = lowest_free_descriptor();

    CHECK_INT(file_read_proc("/proc/self/nothing", data, sizeof data), -ENOENT, "proc");
    CHECK_STR(data, "", "proc");
    strcpy(data, "before");
    CHECK_INT(file_read_regular(scratch_path("nothing"), data, sizeof data), -ENOENT,
              "regular");
    CHECK_STR(data, "", "regular");
    strcpy(data, "before");
    CHECK_INT(file_read_regular("/tmp", data, sizeof data), -EISDIR, "a folder");
    CHECK_STR(data, "", "a folder");
    CHECK_INT(file_read_proc("/proc/self", data, sizeof data), -EISDIR, "a folder of /proc");
    CHECK_INT(lowest_free_descriptor(), free_one, "no descriptor stays");
}

TEST(a_regular_file_is_read_to_its_end_or_to_that_of_the_memory)
{
    const char *path = scratch_path("many");
    char *bytes = malloc(MANY_BYTES), *data = malloc(MANY_BYTES + 1);

    for (size_t i = 0; i < MANY_BYTES; i++)
        bytes[i] = (char)('a' + i % 23);
    put(path, bytes, MANY_BYTES);
    CHECK_INT(file_read_regular(path, data, MANY_BYTES + 1), MANY_BYTES, "just fits");
    CHECK_INT(memcmp(data, bytes, MANY_BYTES), 0, "its bytes");
    CHECK_INT(data[MANY_BYTES], 0, "the NUL");
    CHECK_INT(file_read_regular(path, data, MANY_BYTES), MANY_BYTES - 1, "one too small");
    CHECK_INT(data[MANY_BYTES - 1], 0, "the NUL of what is cut");
    put(path, "", 0);
    CHECK_INT(file_read_regular(path, data, MANY_BYTES), 0, "empty");
    CHECK_STR(data, "", "empty");
    free(bytes);
    free(data);
}

/* open() of a pipe that nobody writes to would never return. */
TEST(what_would_have_us_wait_is_refused_and_dev_null_is_empty)
{
    const char *path = scratch_path("pipe");
    char data[8] = "before";

    CHECK_INT(mkfifo(path, 0600), 0, "mkfifo");
    CHECK_INT(file_read_regular(path, data, sizeof data), -EINVAL, "a pipe");
    CHECK_STR(data, "", "a pipe");
    CHECK_INT(file_read_regular("/dev/zero", data, sizeof data), -EINVAL, "a device");
    CHECK_INT(file_read_regular("/dev/null", data, sizeof data), 0, "/dev/null");
}
