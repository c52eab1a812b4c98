/* Lets the agent unwind once, then takes every low descriptor with a pipe of its own, and unwinds code without unwind
 * tables, where an unwinder may be tempted to test addresses by reading and writing a descriptor it believes its own. */
#include <fcntl.h>

#include "victim.h"

static void *volatile kept[200];

static void *call_without_tables(void *(*function)(void))
{
    /* push rbp; mov rbp, rsp; call rdi; pop rbp; ret - in a page that no unwind table covers */
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
    unsigned char *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(page != MAP_FAILED, "mmap");
    memcpy(page, code, sizeof code);
    check(!mprotect(page, 4096, PROT_READ | PROT_EXEC), "mprotect");
    return ((void *(*)(void *(*)(void)))page)(function);
}

NAMED void *from_jit(void)
{
    void *p = malloc(opaque(300));
    KEEP(p);
    return p;
}

int main(void)
{
    kept[0] = call_without_tables(from_jit);
    closefrom(3);
    int ends[2][2];
    check(!pipe2(ends[0], O_NONBLOCK) && !pipe2(ends[1], O_NONBLOCK), "pipe2");
    check(write(ends[0][1], "precious", 8) == 8 && write(ends[1][1], "precious", 8) == 8,
          "write");
    for (int i = 1; i < 200; i++)
        kept[i] = call_without_tables(from_jit);
    for (int i = 0; i < 2; i++) {
        char text[64];
        ssize_t n = read(ends[i][0], text, sizeof text);
        printf("descriptor %d: %.*s\n", ends[i][0], (int)(n > 0 ? n : 0), text);
    }
    return 0;
}
