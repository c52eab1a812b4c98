/* http_listen - where the HTTP interface is reached: CPROF_HTTP.
 *
 *   6060, :6060, 127.0.0.1:6060, localhost:6060, [::1]:6060      TCP
 *   unix:/run/x/%p.sock                                          a socket file; %p pid, %e exe, %%
 *
 * TCP other than on loopback needs CPROF_HTTP_ALLOW_REMOTE=1 and a token.  A socket file is 0600 from its
 * first moment on, a directory that has to be made for it 0700, and who connects must have the process's user or
 * be root.  A file that a dead process left is replaced, one that somebody listens on is not.
 *
 * Descriptors are close-on-exec, non-blocking, from 1000 on, and are used only while the file behind the number
 * is still the one that we opened (device and inode): programs close what they did not open.
 *
 * Raw system calls; from the constructor and the agent's thread. */
#ifndef CPROF_AGENT_HTTP_LISTEN_H
#define CPROF_AGENT_HTTP_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum { HTTP_SOCKADDR_BYTES = 110, HTTP_PATH_BYTES = 108 };

struct http_address {
    char sockaddr[HTTP_SOCKADDR_BYTES]; /* as bind() wants it */
    uint32_t size;
    bool is_unix, is_loopback;
    char path[HTTP_PATH_BYTES]; /* of a socket file, absolute */
};

/* A descriptor and what was behind it. */
struct http_fd {
    int fd; /* -1: none */
    dev_t device;
    ino_t inode;
};

/* CPROF_HTTP as typed. 0, -EINVAL, -ENAMETOOLONG. */
int http_parse_address(const char *text, struct http_address *ret_address);

/* 0 or -errno. */
int http_listen(const struct http_address *address, struct http_fd *ret_fd);

/* The next connection; -EAGAIN: none.  -EPERM: closed again, of a user who may not. */
int http_accept(const struct http_fd *listener, const struct http_address *address,
                struct http_fd *ret_fd);

bool http_fd_is_ours(const struct http_fd *fd);
/* Closes it unless the program did. */
void http_fd_close(struct http_fd *fd);

/* Removes the socket file, if it is still that of our listener. */
void http_listen_remove(const struct http_address *address);

#endif
