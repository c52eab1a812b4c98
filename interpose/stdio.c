/* stdio - what opens and closes streams, and directories.
 *
 * As fd.c: openers report when the real function has returned, closers take the stream out of the table first, since
 * its address may be given out again at once, and its descriptor, which libc closes inside itself.
 * fileno() and dirfd() read one field, without a lock. */
#include <dirent.h>
#include <errno.h>
#include <mntent.h>
#include <stdio.h>

#include "agent/handles.h"
#include "base/compiler.h"
#include "base/real.h"

/* ---- reporting ---- */

static int descriptor_of(FILE *stream)
{
    const int saved_errno = errno;
    const int fd = fileno(stream);

    errno = saved_errno;
    return fd;
}

/* A stream that came with a descriptor of its own: fileno() does not fail. */
static inline __attribute__((always_inline)) FILE *add_file(FILE *stream)
{
    if (!stream)
        return NULL;
    const int fd = fileno(stream);
    if (likely(handles_follow(HANDLES_STREAMS)))
        handles_add_stream(stream, fd, handles_follow(HANDLES_ALL));
    else if (handles_follow(HANDLES_ALL))
        handles_add(SOURCE_FD, &fd, 1);
    return stream;
}

/* On one that was there before, or without (-1). */
static inline __attribute__((always_inline)) FILE *add_stream(FILE *stream, int fd)
{
    if (stream && handles_follow(HANDLES_STREAMS))
        handles_add_stream(stream, fd, false);
    return stream;
}

static void take_descriptor(int fd)
{
    if (fd >= 0 && handles_has(fd))
        handles_take(fd);
}

static NOINLINE void take(FILE *stream)
{
    const int fd = descriptor_of(stream);

    take_descriptor(fd);
    handles_take_stream(stream, fd);
}

static inline bool streams(void)
{
    return handles_follow(HANDLES_STREAMS);
}

static inline bool files(void)
{
    return handles_follow(HANDLES_STREAMS | HANDLES_ALL);
}

static inline bool any(void)
{
    return handles_follow(HANDLES_EVER);
}

/* ---- with a file ---- */

EXPORT FILE *fopen(const char *path, const char *mode)
{
    return files() ? add_file(real.fopen(path, mode)) : real.fopen(path, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode)
{
    return files() ? add_file(real.fopen64(path, mode)) : real.fopen64(path, mode);
}

EXPORT FILE *fdopen(int fd, const char *mode)
{
    return streams() ? add_stream(real.fdopen(fd, mode), fd) : real.fdopen(fd, mode);
}

/* Whether it succeeds or not, what the stream stood for is closed. */
EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream)
{
    if (!any())
        return real.freopen(path, mode, stream);
    take(stream);
    return add_file(real.freopen(path, mode, stream));
}

EXPORT FILE *freopen64(const char *path, const char *mode, FILE *stream)
{
    if (!any())
        return real.freopen64(path, mode, stream);
    take(stream);
    return add_file(real.freopen64(path, mode, stream));
}

EXPORT FILE *tmpfile(void)
{
    return files() ? add_file(real.tmpfile()) : real.tmpfile();
}

EXPORT FILE *tmpfile64(void)
{
    return files() ? add_file(real.tmpfile64()) : real.tmpfile64();
}

EXPORT FILE *popen(const char *command, const char *mode)
{
    return files() ? add_file(real.popen(command, mode)) : real.popen(command, mode);
}

EXPORT FILE *setmntent(const char *path, const char *mode)
{
    return files() ? add_file(real.setmntent(path, mode)) : real.setmntent(path, mode);
}

/* ---- without ---- */

EXPORT FILE *fmemopen(void *data, size_t size, const char *mode)
{
    return streams() ? add_stream(real.fmemopen(data, size, mode), -1)
                     : real.fmemopen(data, size, mode);
}

EXPORT FILE *open_memstream(char **ret_data, size_t *ret_size)
{
    return streams() ? add_stream(real.open_memstream(ret_data, ret_size), -1)
                     : real.open_memstream(ret_data, ret_size);
}

EXPORT FILE *open_wmemstream(wchar_t **ret_data, size_t *ret_size)
{
    return streams() ? add_stream(real.open_wmemstream(ret_data, ret_size), -1)
                     : real.open_wmemstream(ret_data, ret_size);
}

EXPORT FILE *fopencookie(void *cookie, const char *mode, cookie_io_functions_t functions)
{
    return streams() ? add_stream(real.fopencookie(cookie, mode, functions), -1)
                     : real.fopencookie(cookie, mode, functions);
}

/* ---- closing ---- */

EXPORT int fclose(FILE *stream)
{
    if (any())
        take(stream);
    return real.fclose(stream);
}

EXPORT int pclose(FILE *stream)
{
    if (any())
        take(stream);
    return real.pclose(stream);
}

EXPORT int endmntent(FILE *stream)
{
    if (any() && stream)
        take(stream);
    return real.endmntent(stream);
}

/* glibc leaves the descriptors open. */
EXPORT int fcloseall(void)
{
    if (any())
        handles_take_streams();
    return real.fcloseall();
}

/* ---- directories: descriptors only ---- */

static COLD DIR *add_directory(DIR *directory)
{
    const int fd = directory ? dirfd(directory) : -1;

    if (fd >= 0)
        handles_add(SOURCE_FD, &fd, 1);
    return directory;
}

EXPORT DIR *opendir(const char *path)
{
    return unlikely(handles_follow(HANDLES_ALL)) ? add_directory(real.opendir(path))
                                                 : real.opendir(path);
}

EXPORT int closedir(DIR *directory)
{
    DIR *given = directory;

    __asm__("" : "+r"(given)); /* closedir(NULL) is EINVAL, whatever <dirent.h> promises */
    if (any() && given)
        take_descriptor(dirfd(given));
    return real.closedir(given);
}

/* ---- other names of the same ---- */

ALSO(FILE *, _IO_fopen, fopen, const char *path, const char *mode);
ALSO(FILE *, _IO_fdopen, fdopen, int fd, const char *mode);
ALSO(FILE *, _IO_popen, popen, const char *command, const char *mode);
ALSO(int, _IO_fclose, fclose, FILE *stream);
ALSO(FILE *, __setmntent, setmntent, const char *path, const char *mode);
ALSO(int, __endmntent, endmntent, FILE *stream);
