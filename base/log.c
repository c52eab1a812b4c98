/* log - see log.h. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

#include "base/sys.h"
#include "base/text.h"

static struct {
    enum log_level level;
    const char *path; /* NULL: stderr */
    bool has_stderr;
    dev_t stderr_device; /* of descriptor 2 at start */
    ino_t stderr_inode;
} state = {.level = LOG_WARN};

void log_init(void)
{
    struct stat st;

    state.has_stderr = sys_fstat(2, &st) == 0;
    state.stderr_device = st.st_dev;
    state.stderr_inode = st.st_ino;
}

void log_configure(enum log_level level, const char *path)
{
    state.level = level;
    state.path = path;
}

static bool is_stderr_of_start(void)
{
    struct stat st;

    return state.has_stderr && sys_fstat(2, &st) == 0 && st.st_dev == state.stderr_device &&
           st.st_ino == state.stderr_inode;
}

static ssize_t write_to_file(const struct text *line)
{
    const int fd = sys_openat(AT_FDCWD, state.path,
                              O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                              0600);

    if (fd < 0)
        return fd;
    const ssize_t n = sys_write(fd, line->data, line->size);
    sys_close(fd);
    return n;
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char buffer[1024];
    struct text line;
    va_list args;

    if (level > state.level)
        return;
    text_init(&line, buffer, sizeof buffer - 1);
    if (state.path)
        text_addf(&line, "cprof[%d]: %s: ", sys_getpid(), names[level]);
    else
        text_add(&line, "cprof: ");
    va_start(args, format);
    text_addv(&line, format, args);
    va_end(args);
    line.capacity++; /* the room that was kept for it */
    text_add_char(&line, '\n');

    /* A pipe without a reader, or a file over its limit: the signal is ours, not the program's. */
    const sys_sigset deadly = (sys_sigset)1 << (SIGPIPE - 1) | (sys_sigset)1 << (SIGXFSZ - 1);
    sys_sigset old;
    sys_sigmask(SIG_BLOCK, &deadly, &old);
    const ssize_t n = state.path             ? write_to_file(&line)
                      : is_stderr_of_start() ? sys_write(2, line.data, line.size)
                                             : 0;
    if (n == -EPIPE || n == -EFBIG)
        sys_sigtimedwait_now(&deadly);
    sys_sigmask(SIG_SETMASK, &old, NULL);
}
