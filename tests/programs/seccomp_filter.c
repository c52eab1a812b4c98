/* Forbids itself every opening, renaming and removing of files, then allocates and is asked for a snapshot. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "victim.h"

static void *volatile kept[20];

#define FORBID(name) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

int main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        FORBID(openat),
        FORBID(renameat),
        FORBID(renameat2),
        FORBID(unlinkat),
        FORBID(mkdirat),
        FORBID(readlinkat),
#ifdef SYS_open
        FORBID(open),
        FORBID(rename),
        FORBID(unlink),
        FORBID(mkdir),
        FORBID(readlink),
#endif
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
              !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter),
          "seccomp");
    for (int i = 0; i < 20; i++)
        kept[i] = malloc(opaque(1000));
    raise(SIGUSR2);
    puts("done");
    return 9;
}
