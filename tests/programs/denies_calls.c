/* denies_calls thread|process CALL... - opens sockets, is killed from then on for system calls that it never makes itself,
 * in this thread or all of them, goes on when stdin says so, changes its user, forks, and ends. */
#include "filter.h"

#include <sys/socket.h>
#include <sys/wait.h>

static const struct {
    const char *name;
    unsigned number;
} calls[] = {
    {"getsockopt",  SYS_getsockopt },
    {"getsockname", SYS_getsockname},
    {"getpeername", SYS_getpeername},
    {"getdents64",  SYS_getdents64 },
    {"ppoll",       SYS_ppoll      },
    {"accept4",     SYS_accept4    },
    {"prctl",       SYS_prctl      },
    {"madvise",     SYS_madvise    },
    {"mprotect",    SYS_mprotect   },
};

NAMED void opens_sockets(void)
{
    for (int i = 0; i < 900; i++)
        check(socket(AF_UNIX, SOCK_STREAM, 0) >= 0, "socket");
}

static void deny(const char *name, unsigned flags)
{
    unsigned number = 0;

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (!strcmp(calls[i].name, name))
            number = calls[i].number;
    check(number, name);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {sizeof code / sizeof *code, code};
    check(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter), "seccomp");
}

int main(int argc, char **argv)
{
    int status;

    opens_sockets();
    check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
    for (int i = 2; i < argc; i++)
        deny(argv[i], strcmp(argv[1], "process") ? 0 : SECCOMP_FILTER_FLAG_TSYNC);
    puts("denied");
    fflush(stdout);
    getchar();
    check(!setuid(getuid()), "setuid");
    const pid_t child = fork();
    if (child == 0)
        _exit(7);
    check(waitpid(child, &status, 0) == child, "waitpid");
    printf("child %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return 9;
}
