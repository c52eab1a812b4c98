/* Starts itself anew under a filter that refuses the clock as a system call; the vdso has it. */
#include "filter.h"

NAMED static void *allocates(void)
{
    return malloc(100);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        forbid_call(SYS_clock_gettime, SECCOMP_RET_ERRNO | EPERM);
        execl(argv[0], argv[0], "again", (char *)NULL);
        return 99;
    }
    void *kept = allocates();

    KEEP(kept);
    puts("done");
    return 0;
}
