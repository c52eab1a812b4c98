/* over_quota - the kernel refuses every write to a file with EDQUOT, as where a quota is used up: then allocates, is asked
 * for two snapshots, and ends.  The filter is of this thread alone: a thread of the agent's would not be under it. */
#include "filter.h"

static void *volatile kept[20];

#define WHEN_IT_IS(name, then) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, then, 0)

int main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        WHEN_IT_IS(write, 3),
        WHEN_IT_IS(writev, 2),
        WHEN_IT_IS(pwrite64, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 2, 1,
                 0), /* standard output and error are no files */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDQUOT),
    };
    FILE *file = fopen("own", "w");

    check(file, "own file");
    install_filter(code, sizeof code / sizeof *code);
    for (int i = 0; i < 20; i++)
        kept[i] = malloc(opaque(1000));
    if (!getenv("CPROF_OUT"))
        signal(SIGUSR2, SIG_IGN); /* nobody there who would handle it */
    raise(SIGUSR2);
    raise(SIGUSR2);
    const bool written = fprintf(file, "text") == 4 && fflush(file) == 0;
    printf("own file: %d, %s\n", written, strerror(errno));
    return 9;
}
