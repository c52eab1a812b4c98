/* fd - what opens and closes descriptors.
 *
 * Openers call the real function and then report, where anything is followed at all (handles.h); closers that are
 * about to close something the table has empty its slot first.  All else only peeks and jumps on.  Nothing of ours is
 * done while the real function runs, so accept, recvmsg, open and close stay the cancellation points they are.
 *
 * open and fcntl take their optional argument as it comes: in a register, as the real ones read it.  Those whose
 * name begins with __ are what other headers or fortified programs call. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/handles.h"
#include "agent/thread.h"
#include "base/compiler.h"
#include "base/real.h"
#include "base/sys.h"

/* ---- reporting; each gives the real function's result ---- */

static enum record_source source_now(void)
{
    return handles_follow(HANDLES_SOCKETS) ? SOURCE_CONNECTION : SOURCE_FD;
}

static inline __attribute__((always_inline)) int add(int fd)
{
    if (fd >= 0)
        handles_add(source_now(), &fd, 1);
    return fd;
}

static inline __attribute__((always_inline)) int add_pair(int err, const int *fds)
{
    if (err == 0)
        handles_add(source_now(), fds, 2);
    return err;
}

/* What opens sockets is of interest to connection and fd, the rest to fd alone. */
static inline bool sockets(void)
{
    return handles_follow(HANDLES_DESCRIPTORS);
}

static inline bool all(void)
{
    return unlikely(handles_follow(HANDLES_ALL));
}

/* ---- sockets ---- */

EXPORT int socket(int family, int type, int protocol)
{
    return sockets() ? add(real.socket(family, type, protocol))
                     : real.socket(family, type, protocol);
}

EXPORT int socketpair(int family, int type, int protocol, int fds[2])
{
    return sockets() ? add_pair(real.socketpair(family, type, protocol, fds), fds)
                     : real.socketpair(family, type, protocol, fds);
}

EXPORT int accept(int fd, struct sockaddr *ret_peer, socklen_t *size)
{
    return sockets() ? add(real.accept(fd, ret_peer, size)) : real.accept(fd, ret_peer, size);
}

EXPORT int accept4(int fd, struct sockaddr *ret_peer, socklen_t *size, int flags)
{
    return sockets() ? add(real.accept4(fd, ret_peer, size, flags))
                     : real.accept4(fd, ret_peer, size, flags);
}

/* ---- descriptors of others ---- */

static void add_received(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            c->cmsg_len > CMSG_LEN(0))
            handles_add(source_now(), (const int *)(const void *)CMSG_DATA(c),
                        (c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    if (!sockets())
        return real.recvmsg(fd, message, flags);
    const ssize_t n = real.recvmsg(fd, message, flags);
    if (n >= 0 && unlikely(message->msg_controllen))
        add_received(message);
    return n;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned n_max, int flags,
                    struct timespec *timeout)
{
    if (!sockets())
        return real.recvmmsg(fd, messages, n_max, flags, timeout);
    const int n = real.recvmmsg(fd, messages, n_max, flags, timeout);
    for (int i = 0; i < n; i++)
        if (unlikely(messages[i].msg_hdr.msg_controllen))
            add_received(&messages[i].msg_hdr);
    return n;
}

EXPORT int pidfd_getfd(int pidfd, int fd, unsigned flags)
{
    if (!real.pidfd_getfd) { /* before glibc 2.36 */
        errno = ENOSYS;
        return -1;
    }
    return sockets() ? add(real.pidfd_getfd(pidfd, fd, flags))
                     : real.pidfd_getfd(pidfd, fd, flags);
}

/* ---- copies ---- */

/* Is a copy of it to be recorded? */
static inline bool copies(int fd)
{
    return handles_has(fd) || all();
}

static inline __attribute__((always_inline)) int add_copy(int fd)
{
    return thread_is_borrowed() ? fd : add(fd);
}

EXPORT int dup(int fd)
{
    return unlikely(copies(fd)) ? add_copy(real.dup(fd)) : real.dup(fd);
}

/* The slot of `to` is empty while the real function replaces what it stands for. */
static int finish_dup(int result, int from, int to, struct handle old)
{
    if (result < 0)
        handles_put_back(to, old);
    else if (copies(from))
        add_copy(result);
    return result;
}

static COLD int dup2_followed(int from, int to)
{
    const struct handle old = handles_take(to);

    return finish_dup(real.dup2(from, to), from, to, old);
}

EXPORT int dup2(int from, int to)
{
    if (unlikely(copies(from) || handles_has(to)) && from != to)
        return dup2_followed(from, to);
    return real.dup2(from, to);
}

static COLD int dup3_followed(int from, int to, int flags)
{
    const struct handle old = handles_take(to);

    return finish_dup(real.dup3(from, to, flags), from, to, old);
}

EXPORT int dup3(int from, int to, int flags)
{
    if (unlikely(copies(from) || handles_has(to)) && from != to)
        return dup3_followed(from, to, flags);
    return real.dup3(from, to, flags);
}

static inline bool duplicates(int fd, int command)
{
    return unlikely(command == F_DUPFD || command == F_DUPFD_CLOEXEC) && copies(fd);
}

EXPORT int fcntl_here(int fd, int command, long arg) __asm__("fcntl");
int fcntl_here(int fd, int command, long arg)
{
    return duplicates(fd, command) ? add_copy(real.fcntl(fd, command, arg))
                                   : real.fcntl(fd, command, arg);
}

EXPORT int fcntl64_here(int fd, int command, long arg) __asm__("fcntl64");
int fcntl64_here(int fd, int command, long arg)
{
    return duplicates(fd, command) ? add_copy(real.fcntl64(fd, command, arg))
                                   : real.fcntl64(fd, command, arg);
}

/* ---- closing.  Whether it fails with EINTR or not, it is closed; with EBADF there was nothing ---- */

static COLD int close_followed(int fd)
{
    handles_take(fd);
    return real.close(fd);
}

EXPORT int close(int fd)
{
    return unlikely(handles_has(fd)) ? close_followed(fd) : real.close(fd);
}

/* True when the kernel will close what is open there: the call exists, and is allowed and not for others' tables. */
static bool will_close(unsigned first, unsigned last, unsigned flags)
{
    return first <= last && flags == 0 && SYS_CALL(SYS_close_range, ~0u, ~0u, 0) == 0;
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    if (!real.close_range) { /* before glibc 2.34 */
        errno = ENOSYS;
        return -1;
    }
    if (handles_follow(HANDLES_EVER) && will_close(first, last, (unsigned)flags))
        handles_take_range(first, last);
    return real.close_range(first, last, flags);
}

EXPORT void closefrom(int first)
{
    if (handles_follow(HANDLES_EVER))
        handles_take_range(first < 0 ? 0 : (unsigned)first, ~0u);
    if (real.closefrom)
        real.closefrom(first);
}

/* syscall() with SYS_close, SYS_close_range, SYS_dup2 and SYS_dup3 (syscall.S); none is a cancellation point. */
HIDDEN long fd_syscall(long number, long a, long b, long c, long d, long e, long f);
long fd_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    const int from = (int)a, to = (int)b;

    if (number == SYS_close) {
        handles_take(from);
    } else if (number == SYS_close_range) {
        if (handles_follow(HANDLES_EVER) && will_close((unsigned)a, (unsigned)b, (unsigned)c))
            handles_take_range((unsigned)a, (unsigned)b);
    } else if ((copies(from) || handles_has(to)) && from != to) {
        const struct handle old = handles_take(to);
        return finish_dup((int)real.syscall(number, a, b, c, d, e, f), from, to, old);
    }
    return real.syscall(number, a, b, c, d, e, f);
}

/* ---- what only fd follows ---- */

EXPORT int open_here(const char *path, int flags, mode_t mode) __asm__("open");
int open_here(const char *path, int flags, mode_t mode)
{
    return all() ? add(real.open(path, flags, mode)) : real.open(path, flags, mode);
}

EXPORT int open64_here(const char *path, int flags, mode_t mode) __asm__("open64");
int open64_here(const char *path, int flags, mode_t mode)
{
    return all() ? add(real.open64(path, flags, mode)) : real.open64(path, flags, mode);
}

EXPORT int openat_here(int dir, const char *path, int flags, mode_t mode) __asm__("openat");
int openat_here(int dir, const char *path, int flags, mode_t mode)
{
    return all() ? add(real.openat(dir, path, flags, mode))
                 : real.openat(dir, path, flags, mode);
}

EXPORT int openat64_here(int dir, const char *path, int flags, mode_t mode) __asm__("openat64");
int openat64_here(int dir, const char *path, int flags, mode_t mode)
{
    return all() ? add(real.openat64(dir, path, flags, mode))
                 : real.openat64(dir, path, flags, mode);
}

EXPORT int __open_2(const char *path, int flags)
{
    return all() ? add(real.__open_2(path, flags)) : real.__open_2(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
    return all() ? add(real.__open64_2(path, flags)) : real.__open64_2(path, flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
    return all() ? add(real.__openat_2(dir, path, flags)) : real.__openat_2(dir, path, flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
    return all() ? add(real.__openat64_2(dir, path, flags))
                 : real.__openat64_2(dir, path, flags);
}

EXPORT int creat(const char *path, mode_t mode)
{
    return all() ? add(real.creat(path, mode)) : real.creat(path, mode);
}

EXPORT int creat64(const char *path, mode_t mode)
{
    return all() ? add(real.creat64(path, mode)) : real.creat64(path, mode);
}

EXPORT int pipe(int fds[2])
{
    return all() ? add_pair(real.pipe(fds), fds) : real.pipe(fds);
}

EXPORT int pipe2(int fds[2], int flags)
{
    return all() ? add_pair(real.pipe2(fds, flags), fds) : real.pipe2(fds, flags);
}

EXPORT int eventfd(unsigned value, int flags)
{
    return all() ? add(real.eventfd(value, flags)) : real.eventfd(value, flags);
}

EXPORT int epoll_create(int size)
{
    return all() ? add(real.epoll_create(size)) : real.epoll_create(size);
}

EXPORT int epoll_create1(int flags)
{
    return all() ? add(real.epoll_create1(flags)) : real.epoll_create1(flags);
}

EXPORT int timerfd_create(clockid_t clock, int flags)
{
    return all() ? add(real.timerfd_create(clock, flags)) : real.timerfd_create(clock, flags);
}

EXPORT int memfd_create(const char *name, unsigned flags)
{
    return all() ? add(real.memfd_create(name, flags)) : real.memfd_create(name, flags);
}

EXPORT int inotify_init(void)
{
    return all() ? add(real.inotify_init()) : real.inotify_init();
}

EXPORT int inotify_init1(int flags)
{
    return all() ? add(real.inotify_init1(flags)) : real.inotify_init1(flags);
}

/* With a descriptor it changes that one. */
EXPORT int signalfd(int fd, const sigset_t *set, int flags)
{
    return all() && fd == -1 ? add(real.signalfd(fd, set, flags))
                             : real.signalfd(fd, set, flags);
}

/* libc opens these by calls of its own, which are not seen. */

EXPORT int mkstemp(char *path)
{
    return all() ? add(real.mkstemp(path)) : real.mkstemp(path);
}

EXPORT int mkstemp64(char *path)
{
    return all() ? add(real.mkstemp64(path)) : real.mkstemp64(path);
}

EXPORT int mkostemp(char *path, int flags)
{
    return all() ? add(real.mkostemp(path, flags)) : real.mkostemp(path, flags);
}

EXPORT int mkostemp64(char *path, int flags)
{
    return all() ? add(real.mkostemp64(path, flags)) : real.mkostemp64(path, flags);
}

EXPORT int mkstemps(char *path, int n_suffix)
{
    return all() ? add(real.mkstemps(path, n_suffix)) : real.mkstemps(path, n_suffix);
}

EXPORT int mkstemps64(char *path, int n_suffix)
{
    return all() ? add(real.mkstemps64(path, n_suffix)) : real.mkstemps64(path, n_suffix);
}

EXPORT int mkostemps(char *path, int n_suffix, int flags)
{
    return all() ? add(real.mkostemps(path, n_suffix, flags))
                 : real.mkostemps(path, n_suffix, flags);
}

EXPORT int mkostemps64(char *path, int n_suffix, int flags)
{
    return all() ? add(real.mkostemps64(path, n_suffix, flags))
                 : real.mkostemps64(path, n_suffix, flags);
}

EXPORT int shm_open(const char *name, int flags, mode_t mode)
{
    return all() ? add(real.shm_open(name, flags, mode)) : real.shm_open(name, flags, mode);
}

EXPORT mqd_t mq_open_here(const char *name, int flags, mode_t mode,
                          struct mq_attr *attributes) __asm__("mq_open");
mqd_t mq_open_here(const char *name, int flags, mode_t mode, struct mq_attr *attributes)
{
    return all() ? add(real.mq_open(name, flags, mode, attributes))
                 : real.mq_open(name, flags, mode, attributes);
}

EXPORT mqd_t __mq_open_2(const char *name, int flags)
{
    return all() ? add(real.__mq_open_2(name, flags)) : real.__mq_open_2(name, flags);
}

EXPORT int mq_close(mqd_t fd)
{
    if (unlikely(handles_has(fd)))
        handles_take(fd);
    return real.mq_close(fd);
}

EXPORT int posix_openpt(int flags)
{
    return all() ? add(real.posix_openpt(flags)) : real.posix_openpt(flags);
}

EXPORT int getpt(void)
{
    return all() ? add(real.getpt()) : real.getpt();
}

EXPORT int pidfd_open(pid_t pid, unsigned flags)
{
    if (!real.pidfd_open) { /* before glibc 2.36 */
        errno = ENOSYS;
        return -1;
    }
    return all() ? add(real.pidfd_open(pid, flags)) : real.pidfd_open(pid, flags);
}

EXPORT int fanotify_init(unsigned flags, unsigned event_flags)
{
    return all() ? add(real.fanotify_init(flags, event_flags))
                 : real.fanotify_init(flags, event_flags);
}

/* ---- other names of the same ---- */

ALSO(int, __close, close, int fd);
ALSO(int, __dup2, dup2, int from, int to);
ALSO(int, __fcntl, fcntl, int fd, int command, long arg);
ALSO(int, __open, open, const char *path, int flags, mode_t mode);
ALSO(int, __open64, open64, const char *path, int flags, mode_t mode);
ALSO(int, __pipe, pipe, int fds[2]);
