/* Opens and closes sockets and streams in one way after the other; argv[1] names the way, argv[2] is for some.
 *
 * At the end it prints how many sockets /proc/self/fd shows and how many streams it has open, so that the profiles can be
 * compared with the truth.  What stays open is opened by keeps_*() functions. */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <mntent.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <wchar.h>

#include "victim.h"

int pidfd_getfd(int pidfd, int fd, unsigned flags);
int close_range(unsigned first, unsigned last, int flags);
void closefrom(int first);
FILE *_IO_fopen(const char *path, const char *mode);
int _IO_fclose(FILE *stream);
int __close(int fd);

static int n_streams;

static int count_sockets(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int n = 0;

    check(directory, "/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat st;
        n += entry->d_name[0] != '.' && fstat(atoi(entry->d_name), &st) == 0 &&
             S_ISSOCK(st.st_mode);
    }
    closedir(directory);
    return n;
}

/* ---- openers ---- */

NAMED int keeps_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    check(fd >= 0, "socket");
    return fd;
}

NAMED void keeps_pair(int fds[2])
{
    check(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0, "socketpair");
}

NAMED int keeps_copy(int fd)
{
    int copy = dup(fd);

    check(copy >= 0, "dup");
    return copy;
}

NAMED FILE *keeps_file(void)
{
    FILE *file = fopen("/dev/null", "r");

    check(file, "fopen");
    n_streams++;
    return file;
}

/* ---- ways to close ---- */

static void way_plain(const char *unused)
{
    int fds[2];

    (void)unused;
    keeps_pair(fds);
    close(keeps_socket());
    __close(keeps_socket());
    keeps_socket();
}

static void way_fclose(const char *unused)
{
    int fds[2];

    (void)unused;
    keeps_pair(fds);
    check(fclose(fdopen(fds[0], "r+")) == 0, "fclose");
    check(pclose(popen("exit 0", "r")) == 0, "pclose");
}

static void way_freopen(const char *unused)
{
    int fds[2];

    (void)unused;
    keeps_pair(fds);
    FILE *file = freopen("/dev/null", "r", fdopen(fds[0], "r+"));
    check(file && fclose(file) == 0, "freopen");
}

static void way_dup2(const char *unused)
{
    int fds[2], kept = keeps_socket();

    (void)unused;
    keeps_pair(fds);
    check(dup2(open("/dev/null", O_RDONLY), fds[0]) == fds[0], "a file over a socket");
    check(dup2(kept, fds[1]) == fds[1], "a socket over a socket");
    check(dup2(kept, kept) == kept, "itself");
    check(dup2(-1, kept) == -1 && errno == EBADF, "nothing over a socket");
    check(dup2(kept, 300) == 300, "a socket to a free number");
    check(dup3(kept, 301, O_CLOEXEC) == 301, "dup3");
    check(dup3(kept, kept, 0) == -1 && errno == EINVAL, "dup3 to itself");
    check(dup3(999, kept, 0) == -1 && errno == EBADF, "dup3 of nothing");
}

static void way_fcntl(const char *unused)
{
    int kept = keeps_socket();

    (void)unused;
    check(fcntl(kept, F_DUPFD, 100) == 100, "F_DUPFD");
    check(fcntl(kept, F_DUPFD_CLOEXEC, 200) == 200, "F_DUPFD_CLOEXEC");
    check(fcntl(kept, F_SETFL, O_NONBLOCK) == 0 && fcntl(kept, F_GETFL) & O_NONBLOCK,
          "F_SETFL");
    check(fcntl(200, F_GETFD) == FD_CLOEXEC, "F_GETFD");
    close(keeps_copy(kept));
}

static void open_many(void)
{
    for (int i = 0; i < 20; i++)
        keeps_socket();
}

static void way_close_range(const char *unused)
{
    (void)unused;
    open_many();
    check(close_range(10, 14, 0) == 0, "close_range");
    check(close_range(15, 16, 1 << 2) == 0, "CLOSE_RANGE_CLOEXEC closes nothing yet");
    check(close_range(17, 12, 0) == -1 && errno == EINVAL, "first > last");
    check(close_range(5, 19, 1 << 10) == -1 && errno == EINVAL, "an unknown flag");
}

static void way_closefrom(const char *unused)
{
    (void)unused;
    open_many();
    closefrom(12);
}

static void way_syscall(const char *unused)
{
    (void)unused;
    open_many();
    check(syscall(SYS_close, 7) == 0, "SYS_close");
    check(syscall(SYS_close, 7) == -1 && errno == EBADF, "SYS_close of nothing");
    check(syscall(SYS_close_range, 9, 11, 0) == 0, "SYS_close_range");
}

static void way_raw_dup(const char *unused)
{
    int fds[2], kept = keeps_socket();

    (void)unused;
    keeps_pair(fds);
    check(syscall(SYS_dup3, open("/dev/null", O_RDONLY), fds[0], 0) == fds[0],
          "a file over a socket");
    check(syscall(SYS_dup3, kept, fds[1], O_CLOEXEC) == fds[1], "a socket over a socket");
    check(fcntl(fds[1], F_GETFD) == FD_CLOEXEC, "the flag arrives");
    check(syscall(SYS_dup3, kept, 301, 0) == 301, "a socket to a free number");
    check(syscall(SYS_dup3, kept, kept, 0) == -1 && errno == EINVAL, "itself");
    check(syscall(SYS_dup3, 999, kept, 0) == -1 && errno == EBADF, "nothing over a socket");
#ifdef SYS_dup2
    check(syscall(SYS_dup2, kept, kept) == kept, "itself, by dup2");
    check(syscall(SYS_dup2, 999, kept) == -1 && errno == EBADF,
          "nothing over a socket, by dup2");
    check(syscall(SYS_dup2, kept, 300) == 300, "dup2");
#else
    check(syscall(SYS_dup3, kept, 300, 0) == 300, "dup3");
#endif
}

/* ---- descriptors of others ---- */

static void send_rights(int to, const int *fds, size_t n)
{
    char byte = 'x', control[CMSG_SPACE(4 * sizeof(int))] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    check(sendmsg(to, &message, 0) == 1, "sendmsg");
}

NAMED void keeps_received(int from)
{
    char byte, control[256];
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};

    check(recvmsg(from, &message, 0) == 1, "recvmsg");
}

NAMED void keeps_received_many(int from)
{
    char bytes[2], control[2][256];
    struct iovec data[2] = {
        {&bytes[0], 1},
        {&bytes[1], 1}
    };
    struct mmsghdr messages[2] = {0};

    for (int i = 0; i < 2; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &data[i],
                                              .msg_iovlen = 1,
                                              .msg_control = control[i],
                                              .msg_controllen = sizeof control[i]};
    check(recvmmsg(from, messages, 2, 0, NULL) == 2, "recvmmsg");
}

static void way_rights(const char *unused)
{
    int channel[2], passed[3] = {keeps_socket(), keeps_socket(), open("/dev/null", O_RDONLY)};

    (void)unused;
    keeps_pair(channel);
    send_rights(channel[0], passed, 3);
    keeps_received(channel[1]); /* 2 sockets and a file */
    send_rights(channel[0], passed, 1);
    send_rights(channel[0], passed, 2);
    keeps_received_many(channel[1]); /* 3 sockets */
    send_rights(channel[1], passed, 1);
    close(passed[0]); /* on its way */
    keeps_received(channel[0]);
}

/* Between two processes, in both directions; who sends has it no more. */
static void way_rights_fork(const char *unused)
{
    int channel[2];

    (void)unused;
    keeps_pair(channel);
    const int child = fork();
    const int end = channel[child == 0], passed = keeps_socket();
    if (child == 0)
        keeps_received(end);
    send_rights(end, &passed, 1);
    close(passed);
    if (child == 0)
        return; /* prints, too */
    keeps_received(end);
    check(waitpid(child, NULL, 0) == child, "waitpid");
}

NAMED int keeps_pidfd_copy(int fd)
{
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0), copy = pidfd_getfd(pidfd, fd, 0);

    close(pidfd);
    check(copy >= 0, "pidfd_getfd");
    return copy;
}

static void way_pidfd(const char *unused)
{
    (void)unused;
    keeps_pidfd_copy(keeps_socket());
}

/* ---- failures ---- */

static void on_signal(int number)
{
    (void)number;
}

static void way_failures(const char *unused)
{
    struct rlimit limit, tight;
    struct sigaction action = {.sa_handler = on_signal};
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct itimerval soon = {.it_value.tv_usec = 20000}, never = {0};
    int listener = socket(AF_INET, SOCK_STREAM, 0), fds[2];

    (void)unused;
    check(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 &&
              listen(listener, 8) == 0,
          "listen");
    sigaction(SIGALRM, &action, NULL);
    soon.it_interval = soon.it_value;
    setitimer(ITIMER_REAL, &soon, NULL);
    check(accept(listener, NULL, NULL) == -1 && errno == EINTR, "accept, interrupted");
    check(accept4(listener, NULL, NULL, SOCK_CLOEXEC) == -1 && errno == EINTR,
          "accept4, interrupted");
    setitimer(ITIMER_REAL, &never, NULL);
    getrlimit(RLIMIT_NOFILE, &limit);
    tight = limit;
    tight.rlim_cur = 8;
    setrlimit(RLIMIT_NOFILE, &tight);
    while (socket(AF_UNIX, SOCK_STREAM, 0) >= 0)
        ;
    check(errno == EMFILE, "socket");
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == -1 && errno == EMFILE, "socketpair");
    check(dup(listener) == -1 && errno == EMFILE, "dup");
    check(!fopen("/dev/null", "r") && errno == EMFILE, "fopen");
    setrlimit(RLIMIT_NOFILE, &limit);
    check(socket(AF_UNIX, 99, 0) == -1 && errno == EINVAL, "socket of an unknown type");
    check(close(-1) == -1 && errno == EBADF && close(1 << 30) == -1 && errno == EBADF, "close");
    check(!fopen("/nonexistent", "r") && errno == ENOENT, "fopen");
    check(!fdopen(-1, "r") && errno == EBADF, "fdopen");
    errno = 4242;
    close(socket(AF_UNIX, SOCK_STREAM, 0));
    fclose(fmemopen(NULL, 10, "w+"));
    fclose(fopen("/dev/null", "r"));
    check(errno == 4242, "errno is kept");
}

/* ---- processes ---- */

static void way_fork(const char *unused)
{
    (void)unused;
    open_many();
    keeps_file();
    int child = fork();
    if (child == 0) {
        close(5);
        keeps_file();
        return; /* prints, too */
    }
    check(waitpid(child, NULL, 0) == child, "waitpid");
}

/* Nothing of this happens to our descriptors. */
static void way_vfork(const char *unused)
{
    (void)unused;
    open_many();
    int child = vfork();
    if (child == 0) {
        dup2(5, 6);
        dup2(2, 7);
        for (int fd = 3; fd < 9; fd++)
            close(fd);
        socket(AF_INET, SOCK_DGRAM, 0);
        syscall(SYS_dup3, 5, 9, 0);
        syscall(SYS_close, 9L);
        close_range(10, 14, 0);
        closefrom(15);
        _exit(0);
    }
    check(waitpid(child, NULL, 0) == child, "waitpid");
}

static void way_untracked(const char *unused)
{
    (void)unused;
    check(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0) >= 0, "SYS_socket");
    keeps_socket();
}

/* A close that nobody sees, by libc's own function: the number comes back as a file. */
static void way_ghost(const char *unused)
{
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    int (*libcs_dup2)(int from, int to) = (int (*)(int, int))dlsym(libc, "dup2");
    int fd = keeps_socket();

    (void)unused;
    keeps_socket();
    check(libcs_dup2(open("/dev/null", O_RDONLY), fd) == fd, "libc's dup2");
    check(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0) >= 0, "SYS_socket");
}

/* The same call at the same depth, from callers that differ in one return address, or in the size of a frame. */
NAMED void opens_for_others(void)
{
    check(socket(AF_UNIX, SOCK_STREAM, 0) >= 0, "socket");
}

NAMED void keeps_left(void)
{
    opens_for_others();
    KEEP(n_streams);
}

NAMED void keeps_right(void)
{
    opens_for_others();
    KEEP(n_streams);
}

NAMED void keeps_growing(size_t size)
{
    char *room = __builtin_alloca(size);

    KEEP(room);
    opens_for_others();
    KEEP(room);
}

static void way_callers(const char *unused)
{
    (void)unused;
    for (size_t i = 0; i < 100; i++) {
        keeps_left();
        keeps_right();
        keeps_growing(opaque(16 * (i % 7)));
    }
}

static void way_nothing(const char *unused)
{
    (void)unused;
}

/* ---- labels ---- */

static void way_labels(const char *path)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t size = sizeof in, size6 = sizeof in6;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    int six = socket(AF_INET6, SOCK_DGRAM, 0), local = socket(AF_UNIX, SOCK_SEQPACKET, 0);

    check(bind(listener, (struct sockaddr *)&in, sizeof in) == 0, "bind");
    check(listen(listener, 4) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&in, &size);
    check(connect(client, (struct sockaddr *)&in, sizeof in) == 0, "connect");
    check(accept(listener, NULL, NULL) >= 0, "accept");
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("port %d\n", ntohs(in.sin_port));
    getsockname(client, (struct sockaddr *)&in, &size);
    printf("client %d\n", ntohs(in.sin_port));
    if (six >= 0 && bind(six, (struct sockaddr *)&in6, sizeof in6) == 0) {
        getsockname(six, (struct sockaddr *)&in6, &size6);
        printf("six %d\n", ntohs(in6.sin6_port));
    }
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    check(bind(local, (struct sockaddr *)&un, sizeof un) == 0, path);
}

/* ---- threads ---- */

static int listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0cprof-handles-"};
static _Atomic bool is_over;

/* A connection of its own; both ends are closed, half of the time by number. */
static void *accepts_and_closes(void *unused)
{
    for (unsigned i = 0; !is_over; i++) {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        check(connect(client, (struct sockaddr *)&address, sizeof address) == 0, "connect");
        int server = accept(listener, NULL, NULL);
        check(server >= 0, "accept");
        if (i % 4 == 0)
            dup2(client, server);
        close(client);
        if (i % 2)
            fclose(fdopen(server, "r+"));
        else
            close(server);
    }
    return unused;
}

static void *opens_and_closes(void *unused)
{
    while (!is_over) {
        FILE *file = fopen("/dev/null", "r"), *memory = fmemopen(NULL, 100, "w+");
        check(file && memory, "fopen");
        fclose(file);
        fclose(memory);
    }
    return unused;
}

static void run_threads(void *(*work)(void *), const char *ms)
{
    pthread_t threads[8];
    const struct timespec some = {atoi(ms) / 1000, atoi(ms) % 1000 * 1000000L};

    for (int i = 0; i < 8; i++)
        check(pthread_create(&threads[i], NULL, work, NULL) == 0, "pthread_create");
    nanosleep(&some, NULL); /* the length of the test */
    is_over = true;
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}

static void way_race(const char *ms)
{
    snprintf(address.sun_path + 15, 20, "%d", getpid());
    listener = keeps_socket();
    check(bind(listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    check(listen(listener, 64) == 0, "listen");
    run_threads(accepts_and_closes, ms);
}

static void way_stream_race(const char *ms)
{
    run_threads(opens_and_closes, ms);
    keeps_file();
}

/* ---- streams ---- */

static ssize_t no_read(void *cookie, char *data, size_t size)
{
    (void)cookie;
    (void)data;
    (void)size;
    return 0;
}

/* Each kind once, closed or kept. */
static void open_all(bool is_kept)
{
    static char *data;
    static wchar_t *wide;
    static size_t size;
    FILE *all[] = {
        fopen("/dev/null", "r"),
        fopen64("/dev/null", "r"),
        _IO_fopen("/dev/null", "r"),
        fdopen(open("/dev/null", O_RDONLY), "r"),
        tmpfile(),
        tmpfile64(),
        fmemopen(NULL, 100, "w+"),
        open_memstream(&data, &size),
        open_wmemstream(&wide, &size),
        fopencookie(NULL, "r", (cookie_io_functions_t){.read = no_read}),
        setmntent("/dev/null", "r"),
        popen("exit 3", "r"),
    };
    enum { N = sizeof all / sizeof *all };

    for (int i = 0; i < N; i++)
        check(all[i], "a stream");
    n_streams += is_kept ? N : 0;
    if (is_kept)
        return;
    for (int i = 0; i < N - 2; i++)
        check((i % 2 ? _IO_fclose : fclose)(all[i]) == 0, "fclose");
    check(endmntent(all[N - 2]) == 1, "endmntent");
    check(WEXITSTATUS(pclose(all[N - 1])) == 3, "pclose");
}

NAMED void keeps_all(void)
{
    open_all(true);
}

static void way_streams(const char *unused)
{
    (void)unused;
    keeps_all();
    open_all(false);
}

NAMED FILE *keeps_reopened(FILE *file)
{
    return freopen("/etc/passwd", "r", file);
}

static void way_reopened(const char *unused)
{
    FILE *file = keeps_file();

    (void)unused;
    check(keeps_reopened(file) == file, "freopen");
    check(!freopen("/nonexistent", "r", keeps_file()) && errno == ENOENT, "a failing freopen");
    n_streams--;
}

static void way_fcloseall(const char *unused)
{
    (void)unused;
    keeps_all();
    check(fcloseall() == 0, "fcloseall");
    n_streams = 0;
}

static void way_directories(const char *unused)
{
    (void)unused;
    DIR *directory = opendir("/");
    check(dirfd(directory) >= 0 && closedir(directory) == 0, "closedir");
    keeps_socket();
    DIR *none = NULL;
    __asm__("" : "+r"(none));
    check(closedir(none) == -1 && errno == EINVAL, "closedir of nothing");
}

/* ---- the whole ---- */

#define WAY(name) \
    { \
#name, way_##name \
    }
static const struct {
    const char *name;
    void (*go)(const char *arg);
} ways[] = {
    WAY(plain),       WAY(fclose),  WAY(freopen),     WAY(dup2),      WAY(raw_dup),
    WAY(rights_fork), WAY(fcntl),   WAY(close_range), WAY(closefrom), WAY(syscall),
    WAY(rights),      WAY(pidfd),   WAY(failures),    WAY(fork),      WAY(vfork),
    WAY(untracked),   WAY(ghost),   WAY(nothing),     WAY(labels),    WAY(race),
    WAY(stream_race), WAY(streams), WAY(callers),     WAY(reopened),  WAY(fcloseall),
    WAY(directories),
};

int main(int argc, char **argv)
{
    char line[100];

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (argc > 1 && strcmp(argv[1], ways[i].name) == 0)
            ways[i].go(argc > 2 ? argv[2] : "");
    /* Streams may be closed by now. */
    int size =
        snprintf(line, sizeof line, "sockets %d streams %d\n", count_sockets(), n_streams);
    check(write(1, line, (size_t)size) == size, "write");
    return 0;
}
