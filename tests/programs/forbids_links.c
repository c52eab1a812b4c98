/* Forbids itself linkat(2), in this image ("here") or before it becomes one that knows nothing of it ("before"). */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "victim.h"

static void forbid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_linkat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};

    check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
              !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter),
          "seccomp");
}

NAMED void *allocates_ten(void)
{
    void *p = NULL;

    for (int i = 0; i < 10; i++) {
        p = malloc(opaque(1000));
        KEEP(p);
    }
    return p;
}

int main(int argc, char **argv)
{
    static void *volatile kept;

    if (argc > 1)
        forbid();
    if (argc > 1 && strcmp(argv[1], "before") == 0)
        execl("/proc/self/exe", argv[0], (char *)NULL);
    kept = allocates_ten();
    puts("done");
    return 0;
}
