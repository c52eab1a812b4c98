/* The first instruction of a function raises SIGILL; the handler allocates.  Right before it another function ends. */
#include <setjmp.h>

#include "victim.h"

#if defined(__aarch64__)
#define ILLEGAL "    udf #0\n"
#else
#define ILLEGAL "    ud2\n"
#endif

void fails_at_its_first_byte(void);
__asm__(".text\n"
        ".p2align 4\n"
        ".type lies_right_before, %function\n"
        "lies_right_before:\n"
        ".cfi_startproc\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size lies_right_before, . - lies_right_before\n"
        ".globl fails_at_its_first_byte\n"
        ".type fails_at_its_first_byte, %function\n"
        "fails_at_its_first_byte:\n"
        ".cfi_startproc\n" ILLEGAL ".cfi_endproc\n"
        ".size fails_at_its_first_byte, . - fails_at_its_first_byte\n");

static sigjmp_buf back;

NAMED void handler_allocates(void)
{
    void *p = malloc(opaque(700));
    KEEP(p);
}

static void on_ill(int signo)
{
    (void)signo;
    handler_allocates();
    siglongjmp(back, 1);
}

NAMED void calls_it(void)
{
    fails_at_its_first_byte();
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_ill};
    sigaction(SIGILL, &action, NULL);
    if (!sigsetjmp(back, 1))
        calls_it();
    puts("done");
    return 0;
}
