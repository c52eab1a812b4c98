/* http_listen - see http_listen.h. */
#include "agent/http_listen.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/agent_thread.h"
#include "agent/dump.h"
#include "agent/process.h"
#include "base/sys.h"
#include "base/text.h"

_Static_assert(HTTP_SOCKADDR_BYTES >= sizeof(struct sockaddr_un), "room for every address");
_Static_assert(HTTP_PATH_BYTES == sizeof(((struct sockaddr_un *)0)->sun_path), "as the kernel");

/* ---- the setting ---- */

static int parse_port(const char *at, in_port_t *ret_port)
{
    uint64_t port;

    if (text_parse_u64(&at, &port) < 0 || *at || port == 0 || port > UINT16_MAX)
        return -EINVAL;
    *ret_port = htons((uint16_t)port);
    return 0;
}

/* a.b.c.d, the whole of host[0..n). */
static int parse_v4(const char *host, size_t n, uint32_t *ret_host)
{
    const char *at = host;

    *ret_host = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t part;
        if (text_parse_u64(&at, &part) < 0 || part > 255 || (i < 3 && *at++ != '.'))
            return -EINVAL;
        *ret_host = *ret_host << 8 | (uint32_t)part;
    }
    return at == host + n ? 0 : -EINVAL;
}

static bool is_host(const char *host, size_t n, const char *name)
{
    return n == strlen(name) && memcmp(host, name, n) == 0;
}

static int set_v6(struct http_address *address, in_port_t port, bool is_loopback)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = port};

    in.sin6_addr.s6_addr[15] = is_loopback;
    memcpy(address->sockaddr, &in, sizeof in);
    address->size = sizeof in;
    address->is_loopback = is_loopback;
    return 0;
}

static int parse_tcp(const char *text, struct http_address *address)
{
    const char *colon = strrchr(text, ':'), *port_text = colon ? colon + 1 : text;
    const size_t n = colon ? (size_t)(colon - text) : 0;
    struct sockaddr_in in = {.sin_family = AF_INET};
    uint32_t host = INADDR_LOOPBACK;

    if (parse_port(port_text, &in.sin_port) < 0)
        return -EINVAL;
    if (is_host(text, n, "[::1]") || is_host(text, n, "[::]"))
        return set_v6(address, in.sin_port, is_host(text, n, "[::1]"));
    if (n && !is_host(text, n, "localhost") && parse_v4(text, n, &host) < 0)
        return -EINVAL;
    in.sin_addr.s_addr = htonl(host);
    memcpy(address->sockaddr, &in, sizeof in);
    address->size = sizeof in;
    address->is_loopback = host >> 24 == 127;
    return 0;
}

static void expand(struct text *path, const char *text)
{
    for (; *text; text++) {
        if (*text != '%' || !text[1]) {
            text_add_char(path, *text);
            continue;
        }
        switch (*++text) {
        case 'p': text_add_u64(path, (uint64_t)process_pid(), 1); break;
        case 'e': text_add(path, dump_exe_name()); break;
        case '%': text_add_char(path, '%'); break;
        default: text_add_char(path, '%'); text_add_char(path, *text);
        }
    }
}

static int parse_unix(const char *text, struct http_address *address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char here[PATH_MAX];
    struct text path;

    text_init(&path, address->path, sizeof address->path);
    if (*text != '/' && process_directory(here) == 0) {
        text_add(&path, here);
        text_add_char(&path, '/');
    }
    expand(&path, text);
    if (path.size == 0 || text[strlen(text) - 1] == '/')
        return -EINVAL;
    if (path.cut)
        return -ENAMETOOLONG;
    memcpy(un.sun_path, address->path, path.size);
    memcpy(address->sockaddr, &un, sizeof un);
    address->size = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + path.size + 1);
    address->is_unix = true;
    return 0;
}

int http_parse_address(const char *text, struct http_address *ret_address)
{
    memset(ret_address, 0, sizeof *ret_address);
    if (text_starts_with(text, "unix:"))
        return *(text + strlen("unix:")) ? parse_unix(text + strlen("unix:"), ret_address)
                                         : -EINVAL;
    return parse_tcp(text, ret_address);
}

/* ---- descriptors ---- */

/* Away from the numbers of the thread's pipe: that is made anew as soon as it is gone, and must not come to lie where
 * a closed listener was, which would never be noticed.  Near enough that all connections have numbers below
 * 1024, the limit in most shells. */
enum { AWAY_FROM_PIPE = 12 };

static int keep(int fd, struct http_fd *ret_fd)
{
    struct stat st;
    int err;

    *ret_fd = (struct http_fd){.fd = -1};
    fd = agent_thread_move_fd(fd, AWAY_FROM_PIPE);
    if (fd < 0)
        return fd;
    if ((err = sys_fstat(fd, &st)) < 0) {
        sys_close(fd);
        return err;
    }
    *ret_fd = (struct http_fd){.fd = fd, .device = st.st_dev, .inode = st.st_ino};
    return 0;
}

bool http_fd_is_ours(const struct http_fd *fd)
{
    struct stat st;

    return fd->fd >= 0 && sys_fstat(fd->fd, &st) == 0 && st.st_dev == fd->device &&
           st.st_ino == fd->inode;
}

void http_fd_close(struct http_fd *fd)
{
    if (http_fd_is_ours(fd))
        sys_close(fd->fd);
    fd->fd = -1;
}

/* ---- listening ---- */

static int make_directory(const struct http_address *address)
{
    char directory[HTTP_PATH_BYTES];
    struct stat st;
    const size_t n = (size_t)(strrchr(address->path, '/') - address->path);

    memcpy(directory, address->path, n);
    directory[n] = '\0';
    return n == 0 || sys_stat(directory, &st) == 0 ? 0 : sys_mkdir(directory, 0700);
}

/* What a dead process left is in nobody's way; a file that is no socket is none of ours. */
static int clear_path(const struct http_address *address)
{
    struct stat st;

    if (sys_stat(address->path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    const int fd = sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return fd;
    const int err = sys_connect(fd, address->sockaddr, address->size);
    sys_close(fd);
    return err == -ECONNREFUSED         ? sys_unlink(address->path)
           : err == 0 || err == -EAGAIN ? -EADDRINUSE
                                        : err;
}

static int prepare(int fd, const struct http_address *address)
{
    if (!address->is_unix)
        return sys_setsockopt_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    int err = sys_fchmod(fd, 0600); /* the file gets the mode of the socket */
    if (err == 0)
        err = make_directory(address);
    return err == 0 ? clear_path(address) : err;
}

static struct {
    dev_t device;
    ino_t inode;
} own_file;

static void remember_file(const struct http_address *address)
{
    struct stat st;

    if (address->is_unix && sys_stat(address->path, &st) == 0) {
        own_file.device = st.st_dev;
        own_file.inode = st.st_ino;
    }
}

int http_listen(const struct http_address *address, struct http_fd *ret_fd)
{
    enum { BACKLOG = 128 };
    sa_family_t family;

    memcpy(&family, address->sockaddr, sizeof family);
    const int fd = sys_socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
    int err = keep(fd, ret_fd);
    if (err < 0)
        return err;
    if ((err = prepare(ret_fd->fd, address)) < 0 ||
        (err = sys_bind(ret_fd->fd, address->sockaddr, address->size)) < 0 ||
        (err = sys_listen(ret_fd->fd, BACKLOG)) < 0)
        http_fd_close(ret_fd);
    else
        remember_file(address);
    return err;
}

void http_listen_remove(const struct http_address *address)
{
    struct stat st;

    if (address->is_unix && own_file.inode && sys_stat(address->path, &st) == 0 &&
        st.st_dev == own_file.device && st.st_ino == own_file.inode)
        sys_unlink(address->path);
}

/* ---- connections ---- */

static bool may_connect(int fd)
{
    struct ucred peer;
    uint32_t size = sizeof peer;

    return sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == (uid_t)sys_geteuid());
}

int http_accept(const struct http_fd *listener, const struct http_address *address,
                struct http_fd *ret_fd)
{
    enum { NOT_SENT_BYTES = 256 << 10 };
    const int fd = sys_accept(listener->fd, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0 && address->is_unix && !may_connect(fd)) {
        sys_close(fd);
        return -EPERM;
    }
    /* So that a slow reader takes its answer in steps, which show that it is there. */
    if (fd >= 0 && !address->is_unix)
        sys_setsockopt_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOT_SENT_BYTES);
    return keep(fd, ret_fd);
}
