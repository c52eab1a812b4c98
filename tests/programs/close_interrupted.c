/* close() and fclose() that fail with EINTR: the descriptor is closed by then (only some file systems do it).  Here a
 * tracer changes what the kernel answers for the numbers from FIRST on.
 *
 * The tracer lets go at close(LET_GO). */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "traced.h"

enum { FIRST = 700, LET_GO = -700 };

/* Until the traced process lets go. */
static void interrupt_closes(pid_t pid)
{
    int fd = -1;

    while (fd != LET_GO) {
        const struct __ptrace_syscall_info info = next_call(pid);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
            fd = info.entry.nr == SYS_close ? (int)info.entry.args[0] : -1;
        else if (fd >= FIRST && info.exit.rval == 0)
            set_register(pid, CALL_RESULT, (unsigned long)-EINTR);
    }
}

NAMED int keeps_socket_high(void)
{
    int low = socket(AF_UNIX, SOCK_STREAM, 0), high = fcntl(low, F_DUPFD, FIRST);

    check(high >= FIRST && close(low) == 0, "F_DUPFD");
    return high;
}

NAMED FILE *keeps_stream_high(void)
{
    int low = open("/dev/null", O_RDONLY), high = fcntl(low, F_DUPFD, FIRST);

    check(close(low) == 0, "close");
    return fdopen(high, "r");
}

int main(void)
{
    const pid_t tracer = start_tracer(interrupt_closes);
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    int (*libcs_dup2)(int from, int to) = (int (*)(int, int))dlsym(libc, "dup2");
    const int fd = keeps_socket_high();
    FILE *stream = keeps_stream_high();

    check(close(fd) == -1 && errno == EINTR, "close");
    check(fcntl(fd, F_GETFD) == -1 && errno == EBADF, "it is closed");
    check(fclose(stream) == EOF && errno == EINTR, "fclose");
    /* What nobody saw takes the number: it must not be shown as the one that was closed. */
    check(libcs_dup2((int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0), fd) == fd,
          "libc's dup2");
    close(LET_GO);
    check(waitpid(tracer, NULL, 0) == tracer, "waitpid");
    return write(1, "ok\n", 3) != 3;
}
