/* http_parse - the text of a request: one head in, its parts out.
 *
 * The head is taken apart where it lies: parts become NUL-terminated texts inside of it, the path without
 * its %xx.  What HTTP allows and no client of pprof sends is refused, not guessed: folded lines, spaces
 * before a colon, two Host or Content-Length lines, encodings of the body.
 *
 * Pure: no globals, no memory of its own, reads and writes nothing outside of the head (fuzzed:
 * tests/fuzz/http_fuzz.c).  Signal-safe. */
#ifndef CPROF_AGENT_HTTP_PARSE_H
#define CPROF_AGENT_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_HEAD_BYTES_MAX = 8 << 10, HTTP_BODY_BYTES_MAX = 1 << 20 };

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OTHER };

struct http_request {
    enum http_method method;
    const char *path;  /* decoded, begins with a slash */
    const char *query; /* as it was sent; "" when there is none */
    const char *host;  /* or NULL; so are all below */
    const char *authorization;
    const char *origin;
    const char *fetch_site; /* Sec-Fetch-Site */
    const char *content_type;
    uint64_t body_bytes;   /* Content-Length, 0 when it is not said */
    bool expects_continue; /* the client waits before it sends the body */
};

/* Bytes of the head with its empty line, or 0: it has not ended yet. */
size_t http_head_bytes(const char *data, size_t size);

/* head[0..size) ends with its empty line and has room for one more byte.  0, or the status to answer: 400,
 * 413 (body), 501 (transfer encoding), 505. */
int http_parse_head(char *head, size_t size, struct http_request *ret_request);

/* The first value of `name` in name=value&..., decoded, cut to size - 1.  False: it does not occur. */
bool http_find_value(const char *query, const char *name, char *ret_value, size_t size);

/* A whole decimal number, with a sign or without.  0, -EINVAL, -ERANGE. */
int http_parse_int(const char *text, int64_t *ret_value);

/* Does `host` (a Host line: name or address, perhaps a port) mean this machine's loopback? */
bool http_is_loopback_host(const char *host);

/* Is its name, whatever the port, one of `names`, which commas separate? */
bool http_is_listed_host(const char *host, const char *names);

/* Is the password of "Basic base64(user:password)" the token?  Takes as long for any wrong one of its length. */
bool http_is_authorized(const char *authorization, const char *token);

#endif
