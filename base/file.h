/* file - small files read as a whole: of /proc, and those that settings name.
 *
 * The caller owns the memory; what is read ends in a NUL, also after an error, so it can be parsed
 * without looking at the result.  Nothing is kept open, and a descriptor is there for the duration
 * of the call only.
 *
 * Signal-safe: raw system calls. */
#ifndef CPROF_BASE_FILE_H
#define CPROF_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* The first capacity - 1 bytes of a file of /proc, which are one read().  Their number, or -errno. */
ssize_t file_read_proc(const char *path, char *data, size_t capacity);

/* The same of a file that a setting names.  -EINVAL: a terminal, a pipe or a device, which would have us
 * wait, or take what the program wants to read; -EISDIR; and the errors of open(2). */
ssize_t file_read_regular(const char *path, char *data, size_t capacity);
/* What its error says to whoever made the setting. */
const char *file_error_text(int err);

#endif
