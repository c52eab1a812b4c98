/* http_fuzz - a request of the fuzzer's.
 *
 * Whatever comes: nothing outside of the head is touched, the parts are texts inside of it, and what is
 * found in the query ends where it should. */
#include <stdlib.h>
#include <string.h>

#include "agent/http_parse.h"

static void check_text(const char *text, const char *head, size_t size)
{
    if (text && *text && (text < head || text + strlen(text) > head + size))
        abort();
}

static void check_values(const char *query)
{
    static const char *const names[] = {"seconds", "debug", "heap", "symbolize", ""};
    char value[8];
    int64_t number;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        http_find_value(query, names[i], value, sizeof value);
        if (strlen(value) >= sizeof value)
            abort();
        http_parse_int(value, &number);
    }
}

static void check(const struct http_request *request, const char *head, size_t size)
{
    if (!request->path || *request->path != '/' || request->body_bytes > HTTP_BODY_BYTES_MAX)
        abort();
    check_text(request->path, head, size);
    check_text(request->query, head, size);
    check_text(request->host, head, size);
    check_text(request->authorization, head, size);
    check_text(request->origin, head, size);
    check_values(request->query);
    if (request->host)
        http_is_loopback_host(request->host);
    http_is_authorized(request->authorization, "token");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request request;

    if (size > HTTP_HEAD_BYTES_MAX)
        return 0;
    const size_t n = http_head_bytes((const char *)data, size);
    if (n > size)
        abort();
    if (n == 0)
        return 0;
    char *head = malloc(n + 1); /* exactly: the sanitizer sees a byte more */
    memcpy(head, data, n);
    const int status = http_parse_head(head, n, &request);
    if (status == 0)
        check(&request, head, n);
    else if (status < 400 || status > 505)
        abort();
    free(head);
    return 0;
}
