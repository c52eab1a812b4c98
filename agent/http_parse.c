/* http_parse - see http_parse.h. */
#include "agent/http_parse.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

/* ---- characters; libc's depend on the locale ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Of a header's name or a method (RFC 9110, token). */
static bool is_token(char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_equal(const char *a, const char *b)
{
    for (; *a && lower(*a) == lower(*b); a++, b++)
        ;
    return *a == *b;
}

/* As text_parse_u64(), and moves behind the digits of a number that is out of range, too. */
static int parse_number(const char **at, uint64_t *ret_value)
{
    const int err = text_parse_u64(at, ret_value);

    while (err == -ERANGE && is_digit(**at))
        (*at)++;
    if (err == -ERANGE)
        *ret_value = UINT64_MAX;
    return err;
}

/* ---- %xx ---- */

/* Decodes from[0..n) into `to`, which may be `from`.  Bytes, or -EINVAL: not of that form. */
static ptrdiff_t decode(char *to, const char *from, size_t n, bool plus_is_space)
{
    size_t size = 0;

    for (size_t i = 0; i < n; i++) {
        char c = from[i];
        if (c == '%') {
            if (n - i < 3 || text_hex_digit(from[i + 1]) < 0 || text_hex_digit(from[i + 2]) < 0)
                return -EINVAL;
            c = (char)(text_hex_digit(from[i + 1]) * 16 + text_hex_digit(from[i + 2]));
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0')
            return -EINVAL; /* would end the text early */
        to[size++] = c;
    }
    return (ptrdiff_t)size;
}

/* ---- the query ---- */

static bool is_key(const char *key, size_t size, const char *name)
{
    char decoded[64];

    if (size >= sizeof decoded)
        return false;
    const ptrdiff_t n = decode(decoded, key, size, true);
    return n >= 0 && (size_t)n == strlen(name) && memcmp(decoded, name, (size_t)n) == 0;
}

static bool take_value(const char *value, size_t n, char *ret_value, size_t size)
{
    char decoded[256];
    const ptrdiff_t bytes = n < sizeof decoded ? decode(decoded, value, n, true) : -EINVAL;

    if (bytes < 0)
        return false;
    const size_t kept = (size_t)bytes < size ? (size_t)bytes : size - 1;
    memcpy(ret_value, decoded, kept);
    ret_value[kept] = '\0';
    return true;
}

bool http_find_value(const char *query, const char *name, char *ret_value, size_t size)
{
    for (const char *at = query; *at;) {
        const size_t n = strcspn(at, "&");
        const char *equals = memchr(at, '=', n);
        const size_t key = equals ? (size_t)(equals - at) : n;
        const char *value = equals ? equals + 1 : at + n;
        if (!memchr(at, ';', n) && is_key(at, key, name) && /* as Go: no semicolons */
            take_value(value, n - (size_t)(value - at), ret_value, size))
            return true;
        at += n + (at[n] == '&');
    }
    *ret_value = '\0';
    return false;
}

int http_parse_int(const char *text, int64_t *ret_value)
{
    const bool is_negative = *text == '-';
    const char *at = text + (*text == '-' || *text == '+');
    uint64_t value;
    const int err = parse_number(&at, &value);

    if (err == -EINVAL || *at)
        return -EINVAL;
    if (err < 0 || value > INT64_MAX)
        return -ERANGE;
    *ret_value = is_negative ? -(int64_t)value : (int64_t)value;
    return 0;
}

/* Ends the token that `line` begins with where `next` stands behind it.  What follows, or NULL: it is not so. */
static char *cut_token(char *line, char next)
{
    size_t n = 0;

    while (is_token(line[n]))
        n++;
    if (n == 0 || line[n] != next)
        return NULL;
    line[n] = '\0';
    return line + n + 1;
}

/* ---- the request line ---- */

enum { BAD_REQUEST = 400, TOO_LARGE = 413, NOT_BUILT = 501, BAD_VERSION = 505 };

static enum http_method method_of(const char *word)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST"};

    for (int i = 0; i < HTTP_OTHER; i++)
        if (strcmp(word, names[i]) == 0)
            return (enum http_method)i;
    return HTTP_OTHER;
}

/* A browser's proxy form, http://host/path, is cut down to its path. */
static char *path_of(char *target)
{
    if (!text_starts_with(target, "http://"))
        return target;
    return strchr(target + strlen("http://"), '/');
}

static int parse_target(char *target, struct http_request *request)
{
    char *path = path_of(target);

    if (!path || *path != '/')
        return BAD_REQUEST;
    path[strcspn(path, "#")] = '\0';
    char *query = strchr(path, '?');
    request->query = "";
    if (query) {
        *query = '\0';
        request->query = query + 1;
    }
    const ptrdiff_t n = decode(path, path, strlen(path), false);
    if (n < 0)
        return BAD_REQUEST;
    path[n] = '\0';
    request->path = path;
    return 0;
}

static int parse_request_line(char *line, struct http_request *request, bool *ret_is_1_1)
{
    char *target = cut_token(line, ' '), *version = target ? strchr(target, ' ') : NULL;

    if (!version)
        return BAD_REQUEST;
    request->method = method_of(line);
    *version++ = '\0';
    if (!text_starts_with(version, "HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
        !is_digit(version[7]) || version[8])
        return BAD_REQUEST;
    if (version[5] != '1')
        return BAD_VERSION;
    *ret_is_1_1 = version[7] != '0';
    return parse_target(target, request);
}

/* ---- the other lines ---- */

static int set_once(const char **text, const char *value)
{
    if (*text)
        return BAD_REQUEST;
    *text = value;
    return 0;
}

static int parse_length(const char *value, struct http_request *request, bool *has_length)
{
    const char *at = value;

    if (*has_length || parse_number(&at, &request->body_bytes) == -EINVAL || *at)
        return BAD_REQUEST;
    *has_length = true;
    return 0; /* one that is out of range is too large below */
}

static int parse_field(const char *name, const char *value, struct http_request *request,
                       bool *has_length)
{
    if (is_equal(name, "host"))
        return set_once(&request->host, value);
    if (is_equal(name, "content-length"))
        return parse_length(value, request, has_length);
    if (is_equal(name, "authorization"))
        return set_once(&request->authorization, value);
    if (is_equal(name, "origin"))
        return set_once(&request->origin, value);
    if (is_equal(name, "sec-fetch-site"))
        return set_once(&request->fetch_site, value);
    if (is_equal(name, "content-type"))
        return set_once(&request->content_type, value);
    if (is_equal(name, "expect"))
        request->expects_continue = is_equal(value, "100-continue");
    return is_equal(name, "transfer-encoding") ? NOT_BUILT : 0;
}

static int parse_line(char *line, struct http_request *request, bool *has_length)
{
    char *value = cut_token(line, ':');

    if (!value)
        return BAD_REQUEST;
    value += strspn(value, " \t");
    size_t end = strlen(value);
    while (end && (value[end - 1] == ' ' || value[end - 1] == '\t'))
        end--;
    value[end] = '\0';
    for (size_t i = 0; i < end; i++)
        if ((unsigned char)value[i] < ' ' && value[i] != '\t')
            return BAD_REQUEST;
    return parse_field(line, value, request, has_length);
}

/* ---- the head ---- */

size_t http_head_bytes(const char *data, size_t size)
{
    const char *end = data + size;

    for (const char *at = data; (at = memchr(at, '\n', (size_t)(end - at))); at++) {
        if (end - at > 1 && at[1] == '\n')
            return (size_t)(at - data) + 2;
        if (end - at > 2 && at[1] == '\r' && at[2] == '\n')
            return (size_t)(at - data) + 3;
    }
    return 0;
}

/* The line at *at, ended with NUL in place of its CR LF; *at moves on. */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');

    if (!end)
        return NULL;
    *at = end + 1;
    *end = '\0';
    if (end > line && end[-1] == '\r')
        end[-1] = '\0';
    return line;
}

int http_parse_head(char *head, size_t size, struct http_request *ret_request)
{
    bool is_1_1 = false, has_length = false;
    char *at = head, *line;

    memset(ret_request, 0, sizeof *ret_request);
    if (memchr(head, '\0', size))
        return BAD_REQUEST;
    head[size] = '\0';
    if (!(line = next_line(&at)))
        return BAD_REQUEST;
    int status = parse_request_line(line, ret_request, &is_1_1);
    while (status == 0 && (line = next_line(&at)) && *line)
        status = parse_line(line, ret_request, &has_length);
    if (status)
        return status;
    if (is_1_1 && !ret_request->host)
        return BAD_REQUEST;
    return ret_request->body_bytes > HTTP_BODY_BYTES_MAX ? TOO_LARGE : 0;
}

/* ---- who asks ---- */

/* 127.a.b.c */
static bool is_loopback_v4(const char *at, const char *end)
{
    for (int i = 0; i < 4; i++) {
        uint64_t part;
        if (at >= end || text_parse_u64(&at, &part) < 0 || part > 255 ||
            (i == 0 && part != 127))
            return false;
        if (i < 3 && *at++ != '.')
            return false;
    }
    return at == end;
}

static bool is_port(const char *at)
{
    size_t n = 0;

    if (*at == '\0')
        return true;
    if (*at++ != ':')
        return false;
    while (is_digit(at[n]))
        n++;
    return n <= 5 && at[n] == '\0';
}

/* Bytes of its name, which a port or nothing follows; 0: it is none. */
static size_t host_name_bytes(const char *host)
{
    const size_t n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

    return n <= strlen(host) && is_port(host + n) ? n : 0;
}

bool http_is_listed_host(const char *host, const char *names)
{
    const size_t n = host_name_bytes(host);

    while (n && *names) {
        const size_t size = strcspn(names, ",");
        size_t k = 0;
        while (k < n && k < size && lower(host[k]) == lower(names[k]))
            k++;
        if (k == n && k == size)
            return true;
        names += size + (names[size] == ',');
    }
    return false;
}

bool http_is_loopback_host(const char *host)
{
    return http_is_listed_host(host, "localhost,localhost.,[::1]") ||
           is_loopback_v4(host, host + host_name_bytes(host));
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    return is_digit(c) ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Bytes, or -EINVAL. */
static ptrdiff_t decode_base64(const char *from, char *to, size_t size)
{
    uint32_t bits = 0;
    size_t n = 0;
    int n_bits = 0;

    for (; *from && *from != '='; from++) {
        const int digit = base64_digit(*from);
        if (digit < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)digit;
        if ((n_bits += 6) < 8)
            continue;
        n_bits -= 8;
        if (n == size)
            return -EINVAL;
        to[n++] = (char)(bits >> n_bits);
    }
    return (ptrdiff_t)n;
}

bool http_is_authorized(const char *authorization, const char *token)
{
    static const char scheme[] = "basic ";
    char decoded[1024];
    unsigned char differs = 0;

    for (size_t i = 0; scheme[i]; i++)
        if (!authorization || lower(authorization[i]) != scheme[i])
            return false;
    authorization += strlen(scheme);
    authorization += strspn(authorization, " ");
    const ptrdiff_t n = decode_base64(authorization, decoded, sizeof decoded);
    const char *colon = n > 0 ? memchr(decoded, ':', (size_t)n) : NULL;
    if (!colon || (size_t)(decoded + n - colon - 1) != strlen(token))
        return false;
    for (size_t i = 0; token[i]; i++)
        differs |= (unsigned char)(colon[1 + i] ^ token[i]);
    return differs == 0;
}
