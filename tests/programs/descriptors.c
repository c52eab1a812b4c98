/* Opens one descriptor of each kind, and prints how many it has; with an argument, the number of a queue that was closed is
 * taken by another descriptor, out of sight. */
#include <dirent.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "victim.h"

NAMED void keeps_one_of_each(const char *name)
{
    int fds[2];
    sigset_t none;

    sigemptyset(&none);
    check(open("/dev/null", O_RDONLY) >= 0 && open64("/dev/null", O_RDONLY) >= 0 &&
              openat(AT_FDCWD, "/dev/null", O_RDONLY) >= 0 &&
              openat64(AT_FDCWD, "/dev/null", O_RDONLY) >= 0 &&
              open(name, O_CREAT | O_RDWR | O_EXCL, 0640) >= 0,
          "open");
    check(creat(name, 0600) >= 0 && unlink(name) == 0, "creat");
    check(fopen("/dev/null", "r") && opendir("/"), "fopen, opendir");
    check(pipe(fds) == 0 && pipe2(fds, O_CLOEXEC) == 0 && popen("exit 0", "r"), "pipes");
    check(eventfd(0, 0) >= 0, "eventfd");
    check(epoll_create(1) >= 0 && epoll_create1(0) >= 0, "epoll");
    check(timerfd_create(CLOCK_MONOTONIC, 0) >= 0, "timerfd");
    check(memfd_create("m", 0) >= 0, "memfd");
    check(inotify_init() >= 0 && inotify_init1(0) >= 0, "inotify");
    int fd = signalfd(-1, &none, 0);
    check(fd >= 0 && signalfd(fd, &none, 0) == fd, "signalfd");
    check(socket(AF_UNIX, SOCK_DGRAM, 0) >= 0, "socket");
}

/* A path of mkstemp(), which it changes. */
static char *template(const char *ending)
{
    static char paths[8][40];
    static int n;

    snprintf(paths[n], sizeof paths[n], "temporary-XXXXXX%s", ending);
    return paths[n++];
}

/* What libc opens by calls of its own: one each. */
NAMED void keeps_temporary(void)
{
    check(mkstemp(template("")) >= 0 && mkostemp(template(""), O_CLOEXEC) >= 0 &&
              mkstemps(template(".c"), 2) >= 0 && mkostemps(template(".c"), 2, O_CLOEXEC) >= 0,
          "mkstemp");
    check(mkstemp64(template("")) >= 0 && mkostemp64(template(""), O_CLOEXEC) >= 0 &&
              mkstemps64(template(".c"), 2) >= 0 &&
              mkostemps64(template(".c"), 2, O_CLOEXEC) >= 0,
          "mkstemp64");
}

NAMED void keeps_shared(void)
{
    char name[40];

    snprintf(name, sizeof name, "/cprof-test-%d", getpid());
    check(shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600) >= 0 && shm_unlink(name) == 0,
          "shm_open");
}

NAMED void keeps_terminal(void)
{
    check(posix_openpt(O_RDWR | O_NOCTTY) >= 0, "posix_openpt");
    check(getpt() >= 0, "getpt");
}

/* Some machines have none, or not for everybody: printed. */
NAMED void keeps_queue(bool reuses)
{
    char name[40];

    snprintf(name, sizeof name, "/cprof-test-%d", getpid());
    const mqd_t kept = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL),
                closed = mq_open(name, O_RDONLY);
    mq_unlink(name);
    printf("queues %d\n", kept >= 0);
    check(kept < 0 || mq_close(closed) == 0, "mq_close");
    if (reuses && kept >= 0) /* out of sight */
        check(syscall(SYS_fcntl, 0, F_DUPFD, 0) == closed, "dup");
}

NAMED void keeps_group(void)
{
    printf("fanotify %d\n", fanotify_init(FAN_CLASS_NOTIF, O_RDONLY) >= 0);
}

/* Not in every libc. */
int pidfd_open(pid_t pid, unsigned flags) __attribute__((weak));

NAMED void keeps_process(void)
{
    printf("pidfds %d\n", pidfd_open && pidfd_open(getpid(), 0) >= 0);
}

int main(int argc, char **argv)
{
    int n = 0;

    (void)argv;
    keeps_one_of_each("created");
    keeps_temporary();
    keeps_shared();
    keeps_terminal();
    keeps_queue(argc > 1);
    keeps_group();
    keeps_process();
    for (int fd = 0; fd < 100; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    printf("descriptors %d\n", n);
    return 0;
}
