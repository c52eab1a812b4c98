#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>

#include "base/sys.h"
#include "base/text.h"

ssize_t file_read_proc(const char *path, char *data, size_t capacity)
{
    const int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    ssize_t n = fd;

    if (fd >= 0) {
        n = sys_read(fd, data, capacity - 1);
        sys_close(fd);
    }
    data[n > 0 ? n : 0] = '\0';
    return n;
}

/* /dev/null is an empty one; what a folder is read() says. */
static bool is_regular(int fd)
{
    struct stat st, null;

    if (sys_fstat(fd, &st) < 0)
        return false;
    if (S_ISCHR(st.st_mode))
        return sys_stat("/dev/null", &null) == 0 && st.st_rdev == null.st_rdev;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

ssize_t file_read_regular(const char *path, char *data, size_t capacity)
{
    const int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    ssize_t n = fd;
    size_t size = 0;

    if (fd >= 0) {
        n = is_regular(fd) ? 1 : -EINVAL;
        while (n > 0 && size < capacity - 1) {
            n = sys_read(fd, data + size, capacity - 1 - size);
            size += n > 0 ? (size_t)n : 0;
        }
        sys_close(fd);
    }
    data[n < 0 ? 0 : size] = '\0';
    return n < 0 ? n : (ssize_t)size;
}

const char *file_error_text(int err)
{
    return err == -EINVAL ? "not a regular file" : text_errno(-err);
}
