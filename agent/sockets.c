/* sockets - see sockets.h. */
#include "agent/sockets.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "base/text.h"

/* ---- names ---- */

struct name {
    int number;
    const char *text;
};

static const struct name families[] = {
    {AF_INET,    "inet"   },
    {AF_INET6,   "inet6"  },
    {AF_UNIX,    "unix"   },
    {AF_NETLINK, "netlink"},
    {AF_PACKET,  "packet" },
    {AF_VSOCK,   "vsock"  },
    {AF_ALG,     "alg"    },
};

static const struct name types[] = {
    {SOCK_STREAM,    "stream"   },
    {SOCK_DGRAM,     "dgram"    },
    {SOCK_RAW,       "raw"      },
    {SOCK_SEQPACKET, "seqpacket"},
};

static void name_number(struct text *text, int number, const struct name *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (names[i].number == number) {
            text_add(text, names[i].text);
            return;
        }
    text_addf(text, "%d", number);
}

/* ---- addresses ---- */

static void add_inet(struct text *text, const uint8_t *bytes)
{
    text_addf(text, "%d.%d.%d.%d", bytes[0], bytes[1], bytes[2], bytes[3]);
}

/* The longest run of zero groups, at least two, is where :: stands (RFC 5952). */
static void find_zeros(const uint16_t *groups, int *ret_first, int *ret_n)
{
    *ret_first = 8;
    *ret_n = 1;
    for (int i = 0; i < 8; i++) {
        int n = 0;
        while (i + n < 8 && groups[i + n] == 0)
            n++;
        if (n > *ret_n) {
            *ret_first = i;
            *ret_n = n;
        }
    }
}

static void add_inet6(struct text *text, const uint8_t *bytes)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint16_t groups[8];
    int zeros, n_zeros;

    if (memcmp(bytes, mapped, sizeof mapped) == 0) {
        text_add(text, "::ffff:");
        add_inet(text, bytes + sizeof mapped);
        return;
    }
    for (int i = 0; i < 8; i++)
        groups[i] = (uint16_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
    find_zeros(groups, &zeros, &n_zeros);
    for (int i = 0; i < 8; i++) {
        if (i == zeros) {
            text_add(text, "::");
            i += n_zeros - 1;
            continue;
        }
        if (i > 0 && i != zeros + n_zeros)
            text_add_char(text, ':');
        text_add_hex(text, groups[i]);
    }
}

static bool is_zero(const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((const uint8_t *)bytes)[i])
            return false;
    return true;
}

static void format_inet(struct text *text, const struct sockaddr_in *in)
{
    if (!in->sin_port && is_zero(&in->sin_addr, sizeof in->sin_addr))
        return; /* not bound */
    add_inet(text, (const uint8_t *)&in->sin_addr);
    text_addf(text, ":%d", ntohs(in->sin_port));
}

static void format_inet6(struct text *text, const struct sockaddr_in6 *in)
{
    if (!in->sin6_port && is_zero(&in->sin6_addr, sizeof in->sin6_addr))
        return;
    text_add_char(text, '[');
    add_inet6(text, in->sin6_addr.s6_addr);
    text_addf(text, "]:%d", ntohs(in->sin6_port));
}

/* Abstract names begin with a NUL and may have more of them. */
static void format_unix(struct text *text, const struct sockaddr_un *un, uint32_t size)
{
    const uint32_t start = offsetof(struct sockaddr_un, sun_path);
    const uint32_t n = size > start ? size - start : 0;

    for (uint32_t i = 0; i < n && i < sizeof un->sun_path; i++) {
        if (un->sun_path[i] == '\0' && un->sun_path[0] != '\0')
            return;
        text_add_char(text, un->sun_path[i] ? un->sun_path[i] : '@');
    }
}

void sockets_format(const struct sockaddr *address, uint32_t size, char *ret_text)
{
    struct text text;

    text_init(&text, ret_text, SOCKET_ADDRESS_BYTES);
    if (address->sa_family == AF_INET && size >= sizeof(struct sockaddr_in))
        format_inet(&text, (const void *)address);
    else if (address->sa_family == AF_INET6 && size >= sizeof(struct sockaddr_in6))
        format_inet6(&text, (const void *)address);
    else if (address->sa_family == AF_UNIX)
        format_unix(&text, (const void *)address, size);
}

/* ---- labels ---- */

static void add_label(struct socket_labels *labels, const char *key, const char *text)
{
    if (*text)
        labels->labels[labels->n++] = (struct pprof_label){.key = key, .text = text};
}

static void add_option(struct socket_labels *labels, int fd, const char *key, int option,
                       const struct name *names, size_t n, char *buffer)
{
    int value;
    uint32_t size = sizeof value;
    struct text text;

    if (sys_getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0)
        return;
    text_init(&text, buffer, sizeof labels->family);
    name_number(&text, value, names, n);
    add_label(labels, key, buffer);
}

static void add_address(struct socket_labels *labels, int fd, const char *key, long call,
                        char *buffer)
{
    struct sockaddr_storage address;
    uint32_t size = sizeof address;

    memset(&address, 0, sizeof address);
    if (sys_getsockaddr(call, fd, &address, &size) < 0)
        return;
    sockets_format((const struct sockaddr *)&address, size, buffer);
    add_label(labels, key, buffer);
}

static _Atomic bool is_forbidden;

void sockets_forbid(void)
{
    store_relaxed(&is_forbidden, true);
}

void sockets_describe(int fd, struct socket_labels *ret)
{
    ret->n = 0;
    if (load_relaxed(&is_forbidden))
        return;
    add_option(ret, fd, "family", SO_DOMAIN, families, COUNT_OF(families), ret->family);
    add_option(ret, fd, "type", SO_TYPE, types, COUNT_OF(types), ret->type);
    add_address(ret, fd, "local", SYS_getsockname, ret->local);
    add_address(ret, fd, "peer", SYS_getpeername, ret->peer);
}
