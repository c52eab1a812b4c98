/* A timer's handler on a 6 KiB alternative stack allocates when it interrupted the library whose path holds argv[1]. */
#include "interrupted_library.h"

enum { SIZE = 6144, PAGE = 4096 };

int main(int argc, char **argv)
{
    (void)argc;
    find_library(argv[1]);
    /* Right below lies an inaccessible page: what overflows crashes. */
    char *memory =
        mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    mprotect(memory, PAGE, PROT_NONE);
    stack_t alternative = {.ss_sp = memory + PAGE, .ss_size = SIZE};
    check(!sigaltstack(&alternative, NULL), "sigaltstack");
    allocate_until_interrupted(500);
    puts("done");
    return 0;
}
