/* Opens one descriptor of each kind, and prints how many it has. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
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

int main(void)
{
    int n = 0;

    keeps_one_of_each("created");
    for (int fd = 0; fd < 100; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    printf("descriptors %d\n", n);
    return 0;
}
