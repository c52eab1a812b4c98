/* Forbids itself linkat(2), in this image ("here") or before it becomes one that knows nothing of it ("before"), then
 * with what kernels before 3.15 do not have ("old"). */
#include "filter.h"

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
        forbid_call(SYS_linkat, SECCOMP_RET_ERRNO | EPERM);
    if (argc > 1 && strcmp(argv[1], "old") == 0)
        forbid_call(SYS_renameat2, SECCOMP_RET_ERRNO | ENOSYS);
    if (argc > 1 && strcmp(argv[1], "here") != 0)
        execl("/proc/self/exe", argv[0], (char *)NULL);
    kept = allocates_ten();
    puts("done");
    return 0;
}
