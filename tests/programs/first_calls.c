/* Functions are called for the first time where little is allowed; argv[1] says where.
 * needs: libfirst_calls
 * flags: -Wl,-z,now -Wl,-rpath,$ORIGIN/ */
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "victim.h"

enum { PAGE = 4096, HANDLER_BYTES = 2048 };

#if !defined(AT_MINSIGSTKSZ)
#define AT_MINSIGSTKSZ 51
#endif

static void on_signal(int number)
{
    const int copy = dup(STDOUT_FILENO);

    (void)number;
    close(copy);
    errno = copy > STDERR_FILENO ? 0 : EBADF;
}

/* Right below the stack lies an inaccessible page: what overflows crashes.  Its size beside what the kernel writes there. */
static int in_a_handler_on_2_kib(void)
{
    const size_t least = getauxval(AT_MINSIGSTKSZ),
                 size = (least ? least : 4096) + HANDLER_BYTES;
    char *memory =
        mmap(NULL, PAGE + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t alternative = {.ss_sp = memory + PAGE, .ss_size = size};
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

    check(memory != MAP_FAILED && !mprotect(memory, PAGE, PROT_NONE), "a stack");
    check(!sigaltstack(&alternative, NULL) && !sigaction(SIGUSR1, &action, NULL), "a handler");
    raise(SIGUSR1);
    return errno;
}

/* The child runs in our memory. */
static int in_a_vfork_child(void)
{
    char *const no_environment[] = {NULL};
    const pid_t child = vfork();
    int status;

    if (child == 0) {
        const int copy = dup(STDOUT_FILENO);
        execle("/bin/sh", "sh", "-c", "exit $(($1 + $8 + $9))", "sh", "1", "2", "3", "4", "5",
               "6", "7", copy < 0 ? "x" : "8", "9", NULL, no_environment);
        _exit(99);
    }
    check(waitpid(child, &status, 0) == child && WIFEXITED(status), "the child");
    return WEXITSTATUS(status) == 18 ? 0 : WEXITSTATUS(status);
}

/* Without TLS there is no errno either. */
static int duplicates(void *result)
{
    *(volatile int *)result = dup(STDOUT_FILENO);
#if defined(__aarch64__)
    register long number __asm__("x8") = SYS_exit;
    register long status __asm__("x0") = 5;
    __asm__ volatile("svc 0" : : "r"(number), "r"(status));
#else
    __asm__ volatile("syscall" : : "a"(SYS_exit), "D"(5) : "rcx", "r11", "memory");
#endif
    return 0;
}

static int in_a_child_without_tls(void)
{
    static char stack[16 * PAGE] __attribute__((aligned(16)));
    volatile int copy = -1;
    const pid_t child =
        clone(duplicates, stack + sizeof stack, CLONE_VM | CLONE_FILES | CLONE_SETTLS | SIGCHLD,
              (void *)(uintptr_t)&copy, NULL, NULL, NULL);
    int status;

    check(child > 0 && waitpid(child, &status, 0) == child, "the child");
    return WIFEXITED(status) && copy > STDERR_FILENO ? WEXITSTATUS(status) - 5 : 1;
}

/* Loading holds the loader's lock, and waits for another thread. */
static int while_a_library_is_loaded(void)
{
    return dlopen("libfirst_calls.so", RTLD_NOW) ? 0 : 1;
}

static int with_errno(void)
{
    errno = EXDEV;
    const int copy = dup(STDOUT_FILENO);
    const int kept = errno;
    const int refused = fcntl(-1, F_GETFD);
    return copy >= 0 && kept == EXDEV && refused == -1 && errno == EBADF ? 0 : 1;
}

static void *waits(void *barrier)
{
    pthread_barrier_wait(barrier);
    return fopen("/dev/null", "r");
}

static int in_8_threads_at_once(void)
{
    enum { N = 8 };
    pthread_barrier_t barrier;
    pthread_t threads[N];
    int n = 0;

    pthread_barrier_init(&barrier, NULL, N);
    for (int i = 0; i < N; i++)
        check(!pthread_create(&threads[i], NULL, waits, &barrier), "a thread");
    for (int i = 0; i < N; i++) {
        void *stream = NULL;
        pthread_join(threads[i], &stream);
        n += stream && fclose(stream) == 0;
    }
    return n - N;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*call)(void);
    } ways[] = {
        {"handler", in_a_handler_on_2_kib    },
        {"tls",     in_a_child_without_tls   },
        {"vfork",   in_a_vfork_child         },
        {"loading", while_a_library_is_loaded},
        {"errno",   with_errno               },
        {"threads", in_8_threads_at_once     },
    };

    for (size_t i = 0; argc > 1 && i < sizeof ways / sizeof *ways; i++)
        if (strcmp(ways[i].name, argv[1]) == 0) {
            printf("%s: %d\n", argv[1], ways[i].call());
            return 0;
        }
    return 2;
}
