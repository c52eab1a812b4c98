/* descriptors - see descriptors.h. */
#include "agent/descriptors.h"

#include <errno.h>
#include <string.h>
#include <sys/single_threaded.h>

#include "agent/agent_thread.h"
#include "agent/apart.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "base/text.h"

const char *descriptor_type_text(enum descriptor_type type)
{
#define DESCRIPTOR_TEXT(name, text, link) text,
    static const char *const texts[] = {DESCRIPTOR_TYPES(DESCRIPTOR_TEXT)};
#undef DESCRIPTOR_TEXT

    return texts[type];
}

/* ---- the way to them ---- */

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int descriptor_borrow(const struct descriptors *descriptors, int fd)
{
    return descriptors->is_shared ? fd : sys_copy_of_process_fd(fd);
}

void descriptor_give_back(const struct descriptors *descriptors, int number)
{
    if (!descriptors->is_shared && number >= 0)
        sys_close(number);
}

static int stat_borrowed(const struct descriptors *descriptors, int fd, struct stat *ret_st)
{
    const int number = descriptor_borrow(descriptors, fd);
    const int err = number < 0 ? number : sys_fstat(number, ret_st);

    descriptor_give_back(descriptors, number);
    return err;
}

/* Through /proc, where there is one: it shows the program's, whichever thread looks. */
static int stat_listed(const struct descriptors *descriptors, int fd, int flags,
                       struct stat *ret_st)
{
    char name[16];
    struct text text;

    if (descriptors->directory < 0)
        return stat_borrowed(descriptors, fd, ret_st);
    text_init(&text, name, sizeof name);
    text_addf(&text, "%d", fd);
    return sys_fstatat(descriptors->directory, name, ret_st, flags);
}

/* /proc/self shows those of the first thread; else the directory that was just opened is found in itself. */
static bool is_shared(const struct descriptors *descriptors)
{
    struct stat own, listed;

    if (sys_gettid() == sys_getpid())
        return true;
    if (descriptors->directory < 0)
        return !agent_thread_is_apart_here() && !apart_is_here();
    return sys_fstat(descriptors->directory, &own) == 0 &&
           stat_listed(descriptors, descriptors->directory, 0, &listed) == 0 &&
           is_same_file(&own, &listed);
}

void descriptors_begin(struct descriptors *ret)
{
    *ret = (struct descriptors){.is_shared = true};
    ret->directory =
        sys_openat(AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    ret->is_shared = is_shared(ret);
}

void descriptors_end(const struct descriptors *descriptors)
{
    if (descriptors->directory >= 0)
        sys_close(descriptors->directory);
}

/* ---- one of them ---- */

int descriptor_stat(const struct descriptors *descriptors, int fd, struct stat *ret_st)
{
    return descriptors->is_shared ? sys_fstat(fd, ret_st)
                                  : stat_listed(descriptors, fd, 0, ret_st);
}

/* What cannot be asked is taken for open: who was believed to be closed is forgotten. */
bool descriptor_is_open(const struct descriptors *descriptors, int fd)
{
    struct stat st;

    if (descriptors->is_shared)
        return sys_fcntl(fd, F_GETFD, 0) >= 0;
    const int err = stat_listed(descriptors, fd, AT_SYMLINK_NOFOLLOW, &st);
    return err == 0 || (err != -ENOENT && err != -EBADF);
}

bool descriptor_is_socket(const struct descriptors *descriptors, int fd)
{
    struct stat st;

    return descriptor_stat(descriptors, fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static enum descriptor_type type_of_mode(const struct descriptors *descriptors, int fd)
{
    struct stat st;

    if (descriptor_stat(descriptors, fd, &st) < 0)
        return DESCRIPTOR_OTHER;
    switch (st.st_mode & S_IFMT) {
    case S_IFSOCK: return DESCRIPTOR_SOCKET;
    case S_IFIFO: return DESCRIPTOR_PIPE;
    case S_IFREG:
    case S_IFDIR:
    case S_IFCHR:
    case S_IFBLK: return DESCRIPTOR_FILE;
    default: return DESCRIPTOR_OTHER;
    }
}

enum descriptor_type descriptor_type(const struct descriptors *descriptors, int fd)
{
#define DESCRIPTOR_LINK(name, text, link) link,
    static const char *const links[] = {DESCRIPTOR_TYPES(DESCRIPTOR_LINK)};
#undef DESCRIPTOR_LINK
    char path[32], target[64];
    struct text text;

    text_init(&text, path, sizeof path);
    text_addf(&text, "/proc/self/fd/%d", fd);
    const ssize_t n = sys_readlink(path, target, sizeof target - 1);
    if (n <= 0)
        return type_of_mode(descriptors, fd);
    target[n] = '\0';
    size_t type = 0;
    while (!text_starts_with(target, links[type]))
        type++;
    /* A FIFO has a name, too. */
    return type == DESCRIPTOR_FILE ? type_of_mode(descriptors, fd) : (enum descriptor_type)type;
}

/* ---- all of them ---- */

/* As the kernel writes them. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

static void visit_entries(const char *at, const char *end, int own,
                          void (*visit)(int fd, void *arg), void *arg)
{
    while (at < end) {
        const struct entry *entry = (const void *)at;
        const char *digits = entry->name;
        uint64_t fd;
        if (text_parse_u64(&digits, &fd) == 0 && (int)fd != own)
            visit((int)fd, arg);
        at += entry->size;
    }
}

static _Atomic bool is_forbidden;

void descriptors_forbid_list(void)
{
    store_relaxed(&is_forbidden, true);
}

bool descriptors_each(const struct descriptors *descriptors, void (*visit)(int fd, void *arg),
                      void *arg)
{
    const int own = descriptors->is_shared ? descriptors->directory : -1;
    char buffer[2048] ALIGNED(8);
    ssize_t n;

    if (load_relaxed(&is_forbidden) || descriptors->directory < 0 ||
        sys_lseek_start(descriptors->directory) < 0)
        return false;
    while ((n = sys_getdents(descriptors->directory, buffer, sizeof buffer)) > 0)
        visit_entries(buffer, buffer + n, own, visit, arg);
    return n == 0;
}

/* How many the first thread has; 0: the kernel does not say, as before Linux 6.2. */
static int64_t n_open(void)
{
    struct stat st;

    return sys_stat("/proc/self/fd", &st) == 0 ? st.st_size : 0;
}

bool descriptors_each_low(struct descriptors *ret, void (*visit)(int fd, void *arg), void *arg)
{
    enum { LOW = 64 }; /* as many as the kernel has room for at first */
    struct stat st;

    *ret = (struct descriptors){.directory = -1, .is_shared = true};
    int64_t left = __libc_single_threaded && sys_gettid() == sys_getpid() ? n_open() : 0;
    if (left <= 0 || left > LOW)
        return false;
    for (int fd = 0; fd < LOW && left > 0; fd++)
        if (descriptor_stat(ret, fd, &st) == 0) {
            visit(fd, arg);
            left--;
        }
    return left == 0;
}

static void count(int fd, void *arg)
{
    (void)fd;
    ++*(size_t *)arg;
}

size_t descriptors_count(void)
{
    struct descriptors descriptors;
    size_t n = 0;

    descriptors_begin(&descriptors);
    descriptors_each(&descriptors, count, &n);
    descriptors_end(&descriptors);
    return n;
}
