/* sys - raw system calls.
 *
 * libc's wrappers set errno, are cancellation points and can be interposed, by the program or
 * by ourselves.  These are none of that: they return what the kernel returns, -errno on
 * failure.  Signal-safe, callable anywhere.
 *
 * To add a call: one line, with the kernel's types (man 2 NAME). */
#ifndef CPROF_BASE_SYS_H
#define CPROF_BASE_SYS_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>

#if defined(__clang_analyzer__) /* does not see that assembly writes memory */
long sys_call6(long n, long a, long b, long c, long d, long e, long f);
#elif defined(__x86_64__)
static inline long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
static inline long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;

    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#else
#error "cprof: no system calls for this machine in base/sys.h"
#endif

#define SYS_CALL(n, ...) SYS_CALL_(n, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SYS_CALL_(n, a, b, c, d, e, f, ...) \
    sys_call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The kernel's sigset: one bit per signal, 64 of them. */
typedef uint64_t sys_sigset;

static inline void *sys_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    return (void *)SYS_CALL(SYS_mmap, at, size, prot, flags, fd, offset);
}
/* mmap() returns an address or -errno in one value. */
static inline int sys_is_error(const void *address)
{
    return (uintptr_t)address > (uintptr_t)-4096;
}
static inline int sys_munmap(void *at, size_t size)
{
    return (int)SYS_CALL(SYS_munmap, at, size);
}
static inline int sys_mprotect(void *at, size_t size, int prot)
{
    return (int)SYS_CALL(SYS_mprotect, at, size, prot);
}
static inline int sys_madvise(void *at, size_t size, int advice)
{
    return (int)SYS_CALL(SYS_madvise, at, size, advice);
}
static inline int sys_openat(int dir, const char *path, int flags, int mode)
{
    return (int)SYS_CALL(SYS_openat, dir, path, flags, mode);
}
static inline int sys_close(int fd)
{
    return (int)SYS_CALL(SYS_close, fd);
}
static inline ssize_t sys_read(int fd, void *data, size_t size)
{
    return SYS_CALL(SYS_read, fd, data, size);
}
static inline ssize_t sys_pread(int fd, void *data, size_t size, off_t offset)
{
    return SYS_CALL(SYS_pread64, fd, data, size, offset);
}
static inline off_t sys_lseek_start(int fd)
{
    return SYS_CALL(SYS_lseek, fd, 0, 0 /* SEEK_SET */);
}
static inline ssize_t sys_write(int fd, const void *data, size_t size)
{
    return SYS_CALL(SYS_write, fd, data, size);
}
static inline int sys_fcntl(int fd, int command, long arg)
{
    return (int)SYS_CALL(SYS_fcntl, fd, command, arg);
}
/* Directory entries as the kernel writes them; bytes, 0 at the end. */
static inline ssize_t sys_getdents(int fd, void *ret_entries, size_t size)
{
    return SYS_CALL(SYS_getdents64, fd, ret_entries, size);
}
static inline int sys_getsockopt(int fd, int level, int option, void *ret_value, uint32_t *size)
{
    return (int)SYS_CALL(SYS_getsockopt, fd, level, option, ret_value, size);
}
/* `call`: SYS_getsockname or SYS_getpeername. */
static inline int sys_getsockaddr(long call, int fd, void *ret_address, uint32_t *size)
{
    return (int)SYS_CALL(call, fd, ret_address, size);
}
static inline int sys_fstat(int fd, struct stat *st)
{
    return (int)SYS_CALL(SYS_newfstatat, fd, "", st, AT_EMPTY_PATH);
}
static inline int sys_fstatat(int dir, const char *path, struct stat *st, int flags)
{
    return (int)SYS_CALL(SYS_newfstatat, dir, path, st, flags);
}
static inline int sys_stat(const char *path, struct stat *st)
{
    return (int)SYS_CALL(SYS_newfstatat, AT_FDCWD, path, st, 0);
}
static inline int sys_mkdir(const char *path, int mode)
{
    return (int)SYS_CALL(SYS_mkdirat, AT_FDCWD, path, mode);
}
static inline int sys_access(const char *path, int mode)
{
    return (int)SYS_CALL(SYS_faccessat, AT_FDCWD, path, mode);
}
static inline int sys_rename(const char *from, const char *to)
{
    return (int)SYS_CALL(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}
/* A name more for what `from` leads to. */
static inline int sys_link(const char *from, const char *to)
{
    return (int)SYS_CALL(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
}
static inline int sys_unlink(const char *path)
{
    return (int)SYS_CALL(SYS_unlinkat, AT_FDCWD, path, 0);
}
static inline ssize_t sys_readlink(const char *path, char *ret_target, size_t size)
{
    return SYS_CALL(SYS_readlinkat, AT_FDCWD, path, ret_target, size);
}
/* Bytes of the path with its NUL. */
static inline ssize_t sys_getcwd(char *ret_path, size_t size)
{
    return SYS_CALL(SYS_getcwd, ret_path, size);
}
/* What clock_gettime() tells without the vdso. */
static inline int sys_clock(clockid_t id, struct timespec *ret_now)
{
    return (int)SYS_CALL(SYS_clock_gettime, id, ret_now);
}
static inline int sys_getpid(void)
{
    return (int)SYS_CALL(SYS_getpid, 0);
}
static inline int sys_getsid(int pid)
{
    return (int)SYS_CALL(SYS_getsid, pid);
}
static inline int sys_getppid(void)
{
    return (int)SYS_CALL(SYS_getppid, 0);
}
static inline int sys_gettid(void)
{
    return (int)SYS_CALL(SYS_gettid, 0);
}
static inline int sys_tgkill(int pid, int tid, int signal)
{
    return (int)SYS_CALL(SYS_tgkill, pid, tid, signal);
}
static inline ssize_t sys_getrandom(void *ret_data, size_t size, unsigned flags)
{
    return SYS_CALL(SYS_getrandom, ret_data, size, flags);
}
/* Sets the calling thread's signal mask; old may be NULL. */
static inline int sys_sigmask(int how, const sys_sigset *set, sys_sigset *ret_old)
{
    return (int)SYS_CALL(SYS_rt_sigprocmask, how, set, ret_old, sizeof *set);
}
/* Signals that are blocked and wait for the calling thread or the process. */
static inline int sys_sigpending(sys_sigset *ret_set)
{
    return (int)SYS_CALL(SYS_rt_sigpending, ret_set, sizeof *ret_set);
}
/* Takes a pending signal of the set, without waiting. Its number, or -EAGAIN. */
static inline int sys_sigtimedwait_now(const sys_sigset *set)
{
    static const struct timespec now = {0, 0};

    return (int)SYS_CALL(SYS_rt_sigtimedwait, set, NULL, &now, sizeof *set);
}
static inline int sys_nanosleep_ns(long ns)
{
    const struct timespec time = {ns / 1000000000, ns % 1000000000};

    return (int)SYS_CALL(SYS_nanosleep, &time, NULL);
}
/* Copies memory of this very process that may be unreadable, up to `n` pieces of it.  Bytes copied. */
static inline ssize_t sys_copy_memory(int pid, const struct iovec *to, const struct iovec *from,
                                      size_t n)
{
    return SYS_CALL(SYS_process_vm_readv, pid, to, 1, from, n, 0);
}
/* Waits while *word is `value`; ns < 0: without a limit. */
static inline int sys_futex_wait_ns(void *word, uint32_t value, int64_t ns)
{
    const struct timespec time = {ns / 1000000000, ns % 1000000000};

    return (int)SYS_CALL(SYS_futex, word, 0 | 128 /* FUTEX_WAIT, private */, value,
                         ns < 0 ? NULL : &time);
}
/* For a word that the kernel wakes (CLONE_CHILD_CLEARTID). */
static inline int sys_futex_wait_shared_ns(void *word, uint32_t value, int64_t ns)
{
    const struct timespec time = {ns / 1000000000, ns % 1000000000};

    return (int)SYS_CALL(SYS_futex, word, 0 /* FUTEX_WAIT */, value, ns < 0 ? NULL : &time);
}
static inline int sys_futex_wake(void *word, int n)
{
    return (int)SYS_CALL(SYS_futex, word, 1 | 128 /* FUTEX_WAKE, private */, n);
}
/* ns < 0: without a limit. */
static inline int sys_poll_ns(struct pollfd *fds, size_t n, int64_t ns)
{
    struct timespec time = {ns / 1000000000, ns % 1000000000}; /* the kernel changes it */

    return (int)SYS_CALL(SYS_ppoll, fds, n, ns < 0 ? NULL : &time, NULL, 0);
}
/* The calling thread has a table of descriptors of its own from now on, an empty one.  Linux 5.9. */
static inline int sys_unshare_and_close_from(unsigned first)
{
    return (int)SYS_CALL(436 /* SYS_close_range */, first, ~0u, 2 /* CLOSE_RANGE_UNSHARE */);
}
static inline int sys_close_range(unsigned first, unsigned last)
{
    return (int)SYS_CALL(436 /* SYS_close_range */, first, last, 0);
}
/* Numbers from here on are not given out; or -errno. */
static inline int64_t sys_descriptor_limit(void)
{
    uint64_t limits[2]; /* now, and as far as it could be raised */
    const long err = SYS_CALL(SYS_prlimit64, 0, 7 /* RLIMIT_NOFILE */, NULL, limits);

    return err < 0 ? err : limits[0] < INT32_MAX ? (int64_t)limits[0] : INT32_MAX;
}
/* A copy of descriptor `fd` of the process, which the calling thread does not share.  Linux 5.6. */
static inline int sys_copy_of_process_fd(int fd)
{
    const int process = (int)SYS_CALL(434 /* SYS_pidfd_open */, SYS_CALL(SYS_getpid, 0), 0);

    if (process < 0)
        return process;
    const int copy = (int)SYS_CALL(438 /* SYS_pidfd_getfd */, process, fd, 0);
    SYS_CALL(SYS_close, process);
    return copy;
}
static inline int sys_pipe2(int *ret_fds, int flags)
{
    return (int)SYS_CALL(SYS_pipe2, ret_fds, flags);
}
/* The calling thread's, up to 15 letters. */
static inline int sys_set_thread_name(const char *name)
{
    return (int)SYS_CALL(SYS_prctl, 15 /* PR_SET_NAME */, name);
}
/* True when the kernel can read there: its last byte is tried. */
static inline int sys_is_readable(const void *at, size_t size)
{
    char last;
    struct iovec to = {&last, 1}, from = {(char *)(uintptr_t)at + (size ? size - 1 : 0), 1};

    return SYS_CALL(SYS_process_vm_readv, sys_getpid(), &to, 1, &from, 1, 0) == 1;
}
/* Sockets; the addresses are the kernel's struct sockaddr_*. */
static inline int sys_socket(int family, int type)
{
    return (int)SYS_CALL(SYS_socket, family, type, 0);
}
static inline int sys_bind(int fd, const void *address, size_t size)
{
    return (int)SYS_CALL(SYS_bind, fd, address, size);
}
static inline int sys_connect(int fd, const void *address, size_t size)
{
    return (int)SYS_CALL(SYS_connect, fd, address, size);
}
static inline int sys_listen(int fd, int backlog)
{
    return (int)SYS_CALL(SYS_listen, fd, backlog);
}
static inline int sys_accept(int fd, int flags)
{
    return (int)SYS_CALL(SYS_accept4, fd, NULL, NULL, flags);
}
static inline int sys_setsockopt_int(int fd, int level, int option, int value)
{
    return (int)SYS_CALL(SYS_setsockopt, fd, level, option, &value, sizeof value);
}
static inline ssize_t sys_send(int fd, const void *data, size_t size, int flags)
{
    return SYS_CALL(SYS_sendto, fd, data, size, flags, NULL, 0);
}
static inline int sys_shutdown(int fd, int how)
{
    return (int)SYS_CALL(SYS_shutdown, fd, how);
}
static inline int sys_fchmod(int fd, int mode)
{
    return (int)SYS_CALL(SYS_fchmod, fd, mode);
}
static inline int sys_geteuid(void)
{
    return (int)SYS_CALL(SYS_geteuid, 0);
}
static inline int sys_uname(struct utsname *ret_system)
{
    return (int)SYS_CALL(SYS_uname, ret_system);
}
static inline int sys_sigaltstack(const stack_t *stack, stack_t *ret_old)
{
    return (int)SYS_CALL(SYS_sigaltstack, stack, ret_old);
}
#endif
