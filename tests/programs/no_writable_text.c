/* Runs itself once more under a filter that refuses memory that can be written and executed, as systemd's
 * MemoryDenyWriteExecute does, and allocates there. */
#include <sys/mman.h>

#include "filter.h"

static void forbid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, PROT_WRITE | PROT_EXEC),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_WRITE | PROT_EXEC, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    install_filter(code, sizeof code / sizeof *code);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        forbid();
        execl("/proc/self/exe", argv[0], "again", (char *)NULL);
        check(false, "execl");
    }
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    puts(mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) ? "refused" : "allowed");
    for (int i = 0; i < 1000; i++)
        free(malloc(opaque(100)));
    puts("ok");
    return 0;
}
