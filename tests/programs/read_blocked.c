/* read_blocked - waits in read(), says what came of it, then the same on an alternate stack for handlers. */
#include "victim.h"

static void *volatile kept;

static void reads(const char *what)
{
    char text[16] = "";

    printf("%s\n", what);
    fflush(stdout);
    errno = 0;
    const ssize_t n = read(0, text, 1);
    printf("read %zd: %s, %s\n", n, text, strerror(errno));
}

int main(void)
{
    stack_t stack = {.ss_sp = malloc(64 << 10), .ss_size = 64 << 10};

    kept = malloc(opaque(1000));
    reads("waits");
    check(sigaltstack(&stack, NULL) == 0, "sigaltstack");
    reads("waits again");
    return 0;
}
