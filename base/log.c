/* log - see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>

#include "base/quiet.h"
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

static bool is_stderr_of_start(int fd)
{
    struct stat st;

    return state.has_stderr && sys_fstat(fd, &st) == 0 && st.st_dev == state.stderr_device &&
           st.st_ino == state.stderr_inode;
}

/* 0 or -errno of the opening: what is lost behind it, by a full disk for one, nobody hears of. */
static int write_to_file(const struct text *line)
{
    const int fd =
        sys_openat(AT_FDCWD, state.path,
                   O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);

    if (fd < 0)
        return fd;
    quiet_write(fd, line->data, line->size);
    sys_close(fd);
    return 0;
}

static void write_to_stderr(const struct text *line)
{
    struct stat st;

    if (is_stderr_of_start(2)) {
        quiet_write(2, line->data, line->size);
    } else if (sys_fstat(2, &st) < 0) { /* the agent's own thread has other descriptors */
        const int copy = sys_copy_of_process_fd(2);
        if (copy >= 0 && is_stderr_of_start(copy))
            quiet_write(copy, line->data, line->size);
        if (copy >= 0)
            sys_close(copy);
    }
}

static void say_file_error(int err)
{
    static _Atomic bool said;
    char buffer[1024];
    struct text line;

    if (swap_acq_rel(&said, true))
        return;
    text_init(&line, buffer, sizeof buffer);
    text_addf(&line, "cprof: log: CPROF_LOG: %s; using stderr instead of %s", text_errno(-err),
              state.path);
    line.size -= line.size == sizeof buffer - 1;
    text_add_char(&line, '\n');
    write_to_stderr(&line);
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char buffer[1024];
    struct text line;
    va_list args;
    int err;

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
    if (!state.path) {
        write_to_stderr(&line);
    } else if ((err = write_to_file(&line)) < 0) {
        say_file_error(err);
        write_to_stderr(&line);
    }
}
