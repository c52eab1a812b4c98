/* sockets - what a socket is, as labels: family, type, local and peer address.
 *
 * Asked of the kernel when a snapshot is taken; nothing is kept.  Raw system calls, signal-safe. */
#ifndef CPROF_AGENT_SOCKETS_H
#define CPROF_AGENT_SOCKETS_H

#include <stdint.h>

#include "encoder/pprof.h"

enum { SOCKET_LABELS_MAX = 4, SOCKET_ADDRESS_BYTES = 120 };

struct socket_labels {
    struct pprof_label labels[SOCKET_LABELS_MAX]; /* their texts lie below, or are constant */
    uint32_t n;
    char family[16], type[16], local[SOCKET_ADDRESS_BYTES], peer[SOCKET_ADDRESS_BYTES];
};

/* What cannot be asked (not bound, not connected, closed meanwhile) is left out. */
void sockets_describe(int fd, struct socket_labels *ret_labels);

/* A seccomp filter that came would kill for it: no labels from now on. */
void sockets_forbid(void);

struct sockaddr;

/* 127.0.0.1:80, [::1]:80, /path, @abstract; "": no address that says anything. `text` is a NUL-terminated buffer
 * of SOCKET_ADDRESS_BYTES. */
void sockets_format(const struct sockaddr *address, uint32_t size, char *ret_text);

#endif
