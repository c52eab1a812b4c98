/* The parser of requests: what it takes, and what it refuses. */
#include "agent/http_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/help.h"

static char head[HTTP_HEAD_BYTES_MAX + 1];
static struct http_request request;

static int parse(const char *text)
{
    const size_t size = strlen(text);

    memcpy(head, text, size);
    return http_parse_head(head, size, &request);
}

TEST(a_head_ends_with_an_empty_line)
{
    static const struct {
        const char *data;
        size_t bytes;
    } cases[] = {
        {"",                                   0 },
        {"GET / HTTP/1.1\r\n",                 0 },
        {"GET / HTTP/1.1\r\n\r",               0 },
        {"GET / HTTP/1.1\r\n\r\n",             18},
        {"GET / HTTP/1.1\r\n\r\nrest",         18},
        {"GET / HTTP/1.1\n\n",                 16},
        {"\r\n\r\n",                           4 },
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\nx", 27},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_INT(http_head_bytes(cases[i].data, strlen(cases[i].data)), cases[i].bytes,
                  cases[i].data);
}

TEST(a_request_is_taken_apart)
{
    CHECK_INT(
        parse("POST /debug/pprof/symbol%20x?a=1+2&b HTTP/1.1\r\nHost:  localhost:6060 \r\n"
              "content-LENGTH: 12\r\nAuthorization: Basic eDp5\r\nExpect: 100-continue\r\n"
              "Origin: http://localhost:6060\r\nSec-Fetch-Site: same-origin\r\n\r\n"),
        0, "status");
    CHECK_INT(request.method, HTTP_POST, "method");
    CHECK_STR(request.path, "/debug/pprof/symbol x", "path");
    CHECK_STR(request.query, "a=1+2&b", "query");
    CHECK_STR(request.host, "localhost:6060", "host");
    CHECK_STR(request.authorization, "Basic eDp5", "authorization");
    CHECK_STR(request.origin, "http://localhost:6060", "origin");
    CHECK_STR(request.fetch_site, "same-origin", "site");
    CHECK_INT(request.body_bytes, 12, "body");
    CHECK(request.expects_continue);
}

TEST(what_is_no_request_is_refused_with_its_status)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",                                             0  },
        {"GET / HTTP/1.0\r\n\r\n",                                                        0  },
        {"GET http://localhost/x HTTP/1.1\r\nHost: a\r\n\r\n",                            0  },
        {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",                                            0  },
        {"GET / HTTP/1.1\r\n\r\n",                                                        400}, /* no Host */
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",                                  400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n",                                            400},
        {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",                                  400},
        {"GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n",                                         400},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",                                            400},
        {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",                                            400},
        {"GET /\r\nHost: a\r\n\r\n",                                                      400},
        {"GET x HTTP/1.1\r\nHost: a\r\n\r\n",                                             400},
        {"GET http://localhost HTTP/1.1\r\nHost: a\r\n\r\n",                              400},
        {"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n",                                           400},
        {"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",                                          400},
        {"\r\n\r\n",                                                                      400},
        {"\x16\x03\x01\r\n\r\n",                                                          400}, /* TLS */
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",                        400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",                       400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",   400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n",                 0  },
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n",                 413},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",              501},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n",                                             505},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_INT(parse(cases[i].text), cases[i].status, cases[i].text);
    memcpy(head, "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 29);
    CHECK_INT(http_parse_head(head, 29, &request), 400, "a NUL");
}

TEST(values_of_a_query_are_found_and_decoded)
{
    static const struct {
        const char *query, *name, *value; /* NULL: not there */
    } cases[] = {
        {"seconds=30",             "seconds", "30"                 },
        {"debug=1&seconds=30",     "seconds", "30"                 },
        {"seconds=1&seconds=2",    "seconds", "1"                  },
        {"%73econds=%31%30",       "seconds", "10"                 },
        {"a=1+2",                  "a",       "1 2"                },
        {"a",                      "a",       ""                   },
        {"a=",                     "a",       ""                   },
        {"aa=1",                   "a",       NULL                 },
        {"a=%zz&a=2",              "a",       "2"                  },
        {"a=1;b=2",                "a",       NULL                 }, /* as Go since 1.17 */
        {"&&a=x",                  "a",       "x"                  },
        {"",                       "a",       NULL                 },
        {"a=x=y",                  "a",       "x=y"                },
        {"a=12345678901234567890", "a",       "1234567890123456789"},
    };
    char value[20];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const bool found = http_find_value(cases[i].query, cases[i].name, value, sizeof value);
        CHECK_INT(found, cases[i].value != NULL, cases[i].query);
        CHECK_STR(value, cases[i].value ? cases[i].value : "", cases[i].query);
    }
}

TEST(whole_numbers_are_parsed_as_in_go)
{
    static const struct {
        const char *text;
        int err;
        int64_t value;
    } cases[] = {
        {"1",                    0,       1        },
        {"-7",                   0,       -7       },
        {"+7",                   0,       7        },
        {"9223372036854775807",  0,       INT64_MAX},
        {"9223372036854775808",  -ERANGE, 0        },
        {"18446744073709551616", -ERANGE, 0        },
        {"",                     -EINVAL, 0        },
        {"-",                    -EINVAL, 0        },
        {"1x",                   -EINVAL, 0        },
        {"0x10",                 -EINVAL, 0        },
        {" 1",                   -EINVAL, 0        },
        {"1.5",                  -EINVAL, 0        },
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t value = 0;
        CHECK_INT(http_parse_int(cases[i].text, &value), cases[i].err, cases[i].text);
        CHECK_INT(value, cases[i].value, cases[i].text);
    }
}

TEST(only_names_of_the_loopback_are_hosts)
{
    static const char *const good[] = {"localhost",    "LocalHost:6060", "127.0.0.1",
                                       "127.1.2.3:80", "[::1]",          "[::1]:6060",
                                       "localhost.",   "localhost:"};
    static const char *const bad[] = {"",
                                      "evil.com",
                                      "localhost.evil.com",
                                      "127.0.0.1.evil.com",
                                      "10.0.0.1",
                                      "127.0.0.256",
                                      "localhost:80x",
                                      "localhost:123456",
                                      "[::2]",
                                      "[::1",
                                      "127.0.0",
                                      "::1",
                                      "localhost@evil",
                                      "0.0.0.0",
                                      "128.0.0.1"};

    for (size_t i = 0; i < COUNT_OF(good); i++)
        CHECK_INT(http_is_loopback_host(good[i]), true, good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK_INT(http_is_loopback_host(bad[i]), false, bad[i]);
}

TEST(hosts_that_are_listed_are_known_by_their_whole_name)
{
    static const struct {
        const char *host, *names;
        bool is_listed;
    } cases[] = {
        {"dev.example",      "dev.example",     true },
        {"Dev.Example:6060", "a,dEv.example,b", true },
        {"[fe80::1]:6060",   "[fe80::1]",       true },
        {"dev.example",      "dev.example.com", false},
        {"dev.example.com",  "dev.example",     false},
        {"dev.example:x",    "dev.example",     false},
        {"",                 "",                false},
        {"",                 ",",               false},
        {":80",              ",dev.example,",   false},
        {"dev.example",      "",                false},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_INT(http_is_listed_host(cases[i].host, cases[i].names), cases[i].is_listed,
                  cases[i].host);
}

TEST(the_token_is_the_password)
{
    CHECK(http_is_authorized("Basic dXNlcjpzZWNyZXQ=", "secret")); /* user:secret */
    CHECK(http_is_authorized("basic  OnNlY3JldA==", "secret"));    /* :secret */
    CHECK(!http_is_authorized(NULL, "secret"));
    CHECK(!http_is_authorized("", "secret"));
    CHECK(!http_is_authorized("Basic", "secret"));
    CHECK(!http_is_authorized("Basic dXNlcjpzZWNyZXR4", "secret")); /* user:secretx */
    CHECK(!http_is_authorized("Basic dXNlcjpzZWNyZQ==", "secret")); /* user:secre */
    CHECK(!http_is_authorized("Basic c2VjcmV0", "secret"));         /* no colon */
    CHECK(!http_is_authorized("Basic d!", "secret"));
    CHECK(!http_is_authorized("Bearer c2VjcmV0", "secret"));
}
