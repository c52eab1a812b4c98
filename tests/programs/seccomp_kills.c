/* Allocates, then lets the kernel kill it for whatever it does not need: seccomp_kills strict|prctl|syscall|refuse|broken|asks. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "victim.h"

static void *volatile kept[200];

NAMED void kept_before(void)
{
    kept[0] = malloc(opaque(4321));
}

#define ALLOW(name) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* What the kernel knows is asked as libseccomp and qemu do: by calls that it refuses. */
static void ask(void)
{
    check(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL) < 0 && errno == EINVAL,
          "is there seccomp(2)?");
    check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL) < 0 &&
              errno == EFAULT,
          "can all threads be put under it?");
    check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) < 0 && errno == EFAULT,
          "are there filters?");
}

static void shut(const char *how)
{
    const bool only_refuses = !strcmp(how, "refuse");
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(read),
        ALLOW(write),
        ALLOW(newfstatat),
        ALLOW(brk),
        ALLOW(exit_group),
        BPF_STMT(BPF_RET | BPF_K,
                 only_refuses ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
    if (!strcmp(how, "asks"))
        ask();
    else if (!strcmp(how, "strict"))
        check(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), "strict");
    else if (!strcmp(how, "syscall"))
        check(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter), "seccomp");
    else if (!strcmp(how, "broken"))
        check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (void *)opaque(64)) < 0,
              "a bad address");
    else
        check(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "filter");
}

int main(int argc, char **argv)
{
    (void)argc;
    kept_before();
    puts("before");
    fflush(stdout);
    for (int round = 0; round < 2;
         round++) { /* the second one needs no memory of the kernel's */
        for (int i = 1; i < 200; i++)
            kept[i] = malloc(opaque(100));
        if (round == 0) {
            for (int i = 1; i < 200; i++)
                free(kept[i]);
            shut(argv[1]);
        }
    }
    for (int i = 1; i < 200; i++)
        free(kept[i]);
    const char last[] = "after\n";
    if (write(1, last, sizeof last - 1) < 0)
        return 1;
    syscall(strcmp(argv[1], "strict") ? SYS_exit_group : SYS_exit, 9);
    return 98;
}
