/* Forbids itself every opening, renaming and removing of files, then allocates and is asked for a snapshot. */
#include "filter.h"

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
    install_filter(code, sizeof code / sizeof *code);
    for (int i = 0; i < 20; i++)
        kept[i] = malloc(opaque(1000));
    raise(SIGUSR2);
    puts("done");
    return 9;
}
