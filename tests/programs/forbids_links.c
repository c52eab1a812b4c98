/* Forbids itself linkat(2), in this image ("here") or before it becomes one that knows nothing of it ("before"), then
 * with what kernels before 3.15 do not have ("old"), and with no descriptor free but 0 ("full").  Where it is "busy" no
 * file gets another name either: that answers as a file system does that asks to try again. */
#include <sys/resource.h>

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

    if (argc == 2)
        forbid_call(SYS_linkat, SECCOMP_RET_ERRNO | EPERM);
    if (argc == 2 && strcmp(argv[1], "old") == 0)
        forbid_call(SYS_renameat2, SECCOMP_RET_ERRNO | ENOSYS);
    if (argc == 2 && strcmp(argv[1], "busy") == 0)
        forbid_call(SYS_renameat, SECCOMP_RET_ERRNO | EAGAIN);
    else if (argc == 2 && strcmp(argv[1], "here") != 0)
        execl("/proc/self/exe", argv[0], argv[1], "again", (char *)NULL);
    kept = allocates_ten();
    if (argc > 1 && strcmp(argv[1], "full") == 0) {
        const struct rlimit limit = {3, 3};
        forbid_call(SYS_close_range, SECCOMP_RET_ERRNO | ENOSYS);
        check(!setrlimit(RLIMIT_NOFILE, &limit) && !close(0), "setrlimit");
    }
    puts("done");
    return 0;
}
