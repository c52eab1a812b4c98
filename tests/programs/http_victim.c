/* http_victim - does what stands on stdin, one word a line, and says `ok` after each; ends with it.
 *
 *   keep       100 objects of 1000 bytes that stay
 *   stacks N   one object from each of N different stacks
 *   contend    one thread waits 20 ms for a mutex that another one holds, and for its end
 *   close      closefrom(3)
 *   fork       a child that lives on until its stdin, a copy, ends; prints its pid
 *   fds        its descriptors below 1000, as numbers in a line
 *   forks N    N children, one after the other, that end at once; prints how many did not end with 0
 *   opens N    opens a file N times and prints how often its number was not the lowest free one
 *   takes      all descriptors that it can have; gives: back again
 *   leave N    gives up nothing, N times: setuid(getuid()), around which the agent's thread ends
 *   values     two values in the profile `odd/"name+1%&` of its own; prints what adding returned
 *   threads N  N threads that stay
 *   sockets N  N sockets that stay open; streams N: as many streams
 *   chroot DIR makes an empty directory its root: no /proc from then on
 *   malloc     calls malloc 100000 times, in between */
#include "../../include/cprof.h"

#include "waiting.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void *volatile kept[100000];
static size_t n_kept;

static void keep(void *p)
{
    kept[n_kept++ % 100000] = p;
}

NAMED void keeps_hundred(void)
{
    for (int i = 0; i < 100; i++)
        keep(malloc(1000));
}

NAMED void *branch_left(unsigned bits, int depth);
NAMED void *branch_right(unsigned bits, int depth);

static void *branch(unsigned bits, int depth)
{
    if (depth == 0)
        return malloc(64);
    return bits & 1 ? branch_right(bits >> 1, depth - 1) : branch_left(bits >> 1, depth - 1);
}
NAMED void *branch_left(unsigned bits, int depth)
{
    void *p = branch(bits, depth);

    KEEP(p);
    return p;
}
NAMED void *branch_right(unsigned bits, int depth)
{
    void *p = branch(bits, depth);

    KEEP(p);
    return p;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;
static atomic_tid waiter; /* is about to wait, and does nothing else that waits */

static void await_waiter(void)
{
    await_waiting(&waiter);
    atomic_store(&waiter, 0);
}

/* Until the other one waits for it; then until it is waited for itself. */
NAMED void *holds_mutex(void *arg)
{
    pthread_mutex_lock(&mutex);
    pthread_barrier_wait(&both);
    await_waiter();
    usleep(20000);
    pthread_mutex_unlock(&mutex);
    await_waiter();
    return arg;
}

NAMED void contends(void)
{
    const pid_t self = (pid_t)syscall(SYS_gettid);
    pthread_t thread;

    pthread_barrier_init(&both, NULL, 2);
    pthread_create(&thread, NULL, holds_mutex, NULL);
    pthread_barrier_wait(&both);
    atomic_store(&waiter, self);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    atomic_store(&waiter, self);
    pthread_join(thread, NULL);
}

static void forks(void)
{
    char byte;
    const pid_t child = fork();

    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, 0);
        while (read(0, &byte, 1) < 0)
            ;
        pause();
    }
    printf("%d\n", child);
}

static void shows_descriptors(void)
{
    for (int fd = 0; fd < 1000; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("%d ", fd);
    printf("\n");
}

static void forks_many(int n)
{
    int n_bad = 0;

    while (n-- > 0) {
        int status = -1;
        const pid_t child = fork();
        if (child == 0)
            _exit(0);
        waitpid(child, &status, 0);
        n_bad += status != 0;
    }
    printf("%d\n", n_bad);
}

static void opens(int n)
{
    const int lowest = open("/dev/null", O_RDONLY);
    int n_others = 0;

    for (int i = 0; i < n; i++) {
        const int fd = open("/dev/null", O_RDONLY);
        n_others += fd != lowest + 1;
        close(fd);
    }
    close(lowest);
    printf("%d\n", n_others);
}

static int taken[4096];
static size_t n_taken;

static void takes_descriptors(void)
{
    for (int fd; n_taken < sizeof taken / sizeof *taken && (fd = dup(0)) >= 0;)
        taken[n_taken++] = fd;
}

static void gives_descriptors(void)
{
    while (n_taken)
        close(taken[--n_taken]);
}

static cprof_profile *odd; /* made at the start, as programs do */

NAMED void adds_values(void)
{
    static char values[2];

    for (size_t i = 0; i < sizeof values; i++)
        printf("%d ", cprof_profile_add(odd, &values[i], 0));
    printf("\n");
}

static void *stays(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static void starts_threads(int n)
{
    pthread_t thread;

    while (n-- > 0)
        check(pthread_create(&thread, NULL, stays, NULL) == 0, "pthread_create");
}

NAMED void opens_sockets(int n)
{
    while (n-- > 0)
        check(socket(AF_UNIX, SOCK_STREAM, 0) >= 0, "socket");
}

NAMED void opens_streams(int n)
{
    while (n-- > 0)
        check(fopen("/dev/null", "r") != NULL, "fopen");
}

static void allocates(void)
{
    for (int i = 0; i < 100000; i++) {
        void *p = malloc(opaque(48));
        KEEP(p);
        free(p);
    }
}

int main(void)
{
    char word[64], path[4096];
    int n;

    setvbuf(stdout, NULL, _IOLBF, 0);
    odd = cprof_profile_new("odd/\"name+1%&");
    printf("ready\n");
    while (scanf("%63s", word) == 1) {
        if (strcmp(word, "keep") == 0)
            keeps_hundred();
        else if (strcmp(word, "stacks") == 0 && scanf("%d", &n) == 1)
            for (int i = 0; i < n; i++)
                keep(branch((unsigned)i, 16));
        else if (strcmp(word, "contend") == 0)
            contends();
        else if (strcmp(word, "close") == 0)
            closefrom(3);
        else if (strcmp(word, "fork") == 0)
            forks();
        else if (strcmp(word, "fds") == 0)
            shows_descriptors();
        else if (strcmp(word, "forks") == 0 && scanf("%d", &n) == 1)
            forks_many(n);
        else if (strcmp(word, "opens") == 0 && scanf("%d", &n) == 1)
            opens(n);
        else if (strcmp(word, "leave") == 0 && scanf("%d", &n) == 1)
            while (n-- > 0 && setuid(getuid()) == 0)
                ;
        else if (strcmp(word, "takes") == 0)
            takes_descriptors();
        else if (strcmp(word, "gives") == 0)
            gives_descriptors();
        else if (strcmp(word, "values") == 0)
            adds_values();
        else if (strcmp(word, "threads") == 0 && scanf("%d", &n) == 1)
            starts_threads(n);
        else if (strcmp(word, "sockets") == 0 && scanf("%d", &n) == 1)
            opens_sockets(n);
        else if (strcmp(word, "streams") == 0 && scanf("%d", &n) == 1)
            opens_streams(n);
        else if (strcmp(word, "chroot") == 0 && scanf("%4095s", path) == 1)
            check(!chroot(path) && !chdir("/"), "chroot");
        else if (strcmp(word, "malloc") == 0)
            allocates();
        printf("ok\n");
    }
    return 0;
}
