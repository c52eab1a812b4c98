/* Allocates and frees with ever less of its stack left, down to 512 bytes. */
#include "victim.h"

static char *bottom; /* of the stack; below it lies an inaccessible page */

NAMED void with_little_stack(size_t left)
{
    char *here = __builtin_frame_address(0);
    size_t n = (size_t)(here - bottom) - left;
    char *volatile waste = __builtin_alloca(n & ~(size_t)15);
    waste[0] = 1;
    for (int i = 0; i < 3; i++) {
        void *p = malloc(opaque(100));
        KEEP(p);
        free(p);
    }
}

static void *thread_main(void *unused)
{
    void *p = malloc(opaque(100)); /* the thread's cache is there */
    KEEP(p);
    free(p);
    for (size_t left = 16384; left >= 512; left -= 256)
        with_little_stack(left);
    return unused;
}

int main(void)
{
    enum { PAGE = 4096, SIZE = 128 << 10 }; /* the least on aarch64 */
    char *memory =
        mmap(NULL, PAGE + SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED && !mprotect(memory, PAGE, PROT_NONE), "mmap");
    bottom = memory + PAGE;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    check(!pthread_attr_setstack(&attr, bottom, SIZE), "pthread_attr_setstack");
    pthread_t thread;
    check(!pthread_create(&thread, &attr, thread_main, NULL), "pthread_create");
    pthread_join(thread, NULL);
    puts("done");
    return 0;
}
