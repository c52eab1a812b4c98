#include "base/text.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>

#include "tests/unit/help.h"

TEST(what_does_not_fit_is_cut_and_remembered)
{
    for (size_t capacity = 1; capacity < 16; capacity++) {
        char *data = malloc(capacity); /* exact, for ASan */
        char want[16];
        struct text text;
        text_init(&text, data, capacity);
        CHECK_STR(data, "", "empty");
        text_add(&text, "12345");
        text_add_char(&text, '6');
        text_addf(&text, "%d%s", 78, "9");
        snprintf(want, capacity, "123456789");
        CHECK_STR(data, want, "as much as fits");
        CHECK_INT(text.size, strlen(want), "size");
        CHECK_INT(text.cut, capacity < 10, "cut");
        free(data);
    }
}

TEST(formats_as_printf_does)
{
    char got[512], want[512];
    struct text text;

    text_init(&text, got, sizeof got);
#define ARGS \
    "%d %d %ld %ld %u %lu %zu %x %lx %lx %c%c [%s] [%s] 100%%", INT_MIN, 0, LONG_MIN, \
        LONG_MAX, UINT_MAX, ULONG_MAX, SIZE_MAX, 0xdeadbeefu, ULONG_MAX, 0ul, 'x', '\n', "", \
        "text"
    text_addf(&text, ARGS);
    snprintf(want, sizeof want, ARGS);
    CHECK_STR(got, want, "format");
    CHECK_INT(text.cut, false, "cut");
}

TEST(numbers_have_at_least_min_digits)
{
    static const struct {
        uint64_t value;
        unsigned min_digits;
        const char *want;
    } cases[] = {
        {0,          0,  "0"                   },
        {0,          1,  "0"                   },
        {7,          3,  "007"                 },
        {1234,       3,  "1234"                },
        {UINT64_MAX, 1,  "18446744073709551615"},
        {1,          20, "00000000000000000001"},
        {1,          99, "00000000000000000001"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char got[32];
        struct text text;
        text_init(&text, got, sizeof got);
        text_add_u64(&text, cases[i].value, cases[i].min_digits);
        CHECK_STR(got, cases[i].want, "digits");
    }
}

TEST(parses_digits_and_stops_behind_them)
{
    static const struct {
        const char *text;
        int err;
        uint64_t value;
        size_t n_read;
    } cases[] = {
        {"0",                    0,       0,          1 },
        {"512k",                 0,       512,        3 },
        {"007",                  0,       7,          3 },
        {"18446744073709551615", 0,       UINT64_MAX, 20},
        {"18446744073709551616", -ERANGE, 0,          0 },
        {"99999999999999999999", -ERANGE, 0,          0 },
        {"",                     -EINVAL, 0,          0 },
        {"-1",                   -EINVAL, 0,          0 },
        {"+1",                   -EINVAL, 0,          0 },
        {" 1",                   -EINVAL, 0,          0 },
        {"k",                    -EINVAL, 0,          0 },
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *at = cases[i].text;
        uint64_t value = 0;
        CHECK_INT(text_parse_u64(&at, &value), cases[i].err, cases[i].text);
        CHECK_INT(value, cases[i].value, cases[i].text);
        CHECK_INT(at - cases[i].text, cases[i].n_read, cases[i].text);
    }
}

TEST(parses_hexadecimal_digits)
{
    static const struct {
        const char *text;
        int err;
        uint64_t value;
        size_t n_read;
    } cases[] = {
        {"7ffd12-",           0,       0x7ffd12,   6 },
        {"ffffffffffffffff",  0,       UINT64_MAX, 16},
        {"10000000000000000", -ERANGE, 0,          0 },
        {"g",                 -EINVAL, 0,          0 },
        {"",                  -EINVAL, 0,          0 },
        {"0x1",               0,       0,          1 },
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *at = cases[i].text;
        uint64_t value = 0;
        CHECK_INT(text_parse_hex(&at, &value), cases[i].err, cases[i].text);
        CHECK_HEX(value, cases[i].value, cases[i].text);
        CHECK_INT(at - cases[i].text, cases[i].n_read, cases[i].text);
    }
}

TEST(errors_have_the_words_of_strerror)
{
    size_t n = 0;

    for (int err = 1; err < 134; err++) {
        if (strcmp(text_errno(err), "Unknown error") == 0)
            continue;
        CHECK_STR(text_errno(err), strerror(err), "words");
        n++;
    }
    CHECK_AT_LEAST(n, 40, "known errors");
    CHECK_STR(text_errno(4711), "Unknown error", "no errno");
}

TEST(globs_match_as_the_shell_does)
{
    static const char of_pattern[] = "ab*?", of_string[] = "ab/";
    uint64_t random = 1;
    size_t n_matches = 0;

    for (int i = 0; i < 200000; i++) {
        char pattern[8] = "", string[10] = "";
        for (size_t n = next_random(&random) % sizeof pattern, k = 0; k < n; k++)
            pattern[k] = of_pattern[next_random(&random) % 4];
        for (size_t n = next_random(&random) % sizeof string, k = 0; k < n; k++)
            string[k] = of_string[next_random(&random) % 3];
        const bool want = fnmatch(pattern, string, 0) == 0;
        if (text_glob(pattern, string) != want)
            FAIL("glob \"%s\" on \"%s\": %d, want %d", pattern, string, !want, want);
        n_matches += want;
    }
    CHECK_AT_LEAST(n_matches, 10000, "patterns that match");
}

/* By its definition. */
static unsigned distance(const char *a, const char *b)
{
    if (!*a || !*b)
        return (unsigned)(strlen(a) + strlen(b));
    if (*a == *b)
        return distance(a + 1, b + 1);
    const unsigned change = distance(a + 1, b + 1), drop = distance(a + 1, b),
                   add = distance(a, b + 1);
    const unsigned least = change < drop ? change : drop;
    return 1 + (least < add ? least : add);
}

TEST(distance_is_the_number_of_edits)
{
    uint64_t random = 2;

    for (int i = 0; i < 5000; i++) {
        char a[7] = "", b[7] = "";
        for (size_t n = next_random(&random) % sizeof a, k = 0; k < n; k++)
            a[k] = (char)('a' + next_random(&random) % 3);
        for (size_t n = next_random(&random) % sizeof b, k = 0; k < n; k++)
            b[k] = (char)('a' + next_random(&random) % 3);
        CHECK_INT(text_distance(a, b), distance(a, b), a);
    }
    char a[80], b[80];
    for (int n = 60; n < 70; n++) {
        memset(a, 'a', sizeof a);
        memset(b, 'b', sizeof b);
        a[n] = b[n] = '\0';
        CHECK_INT(text_distance(a, b), n < 64 ? n : 64, "long");
        CHECK_INT(text_distance(a, "b"), n < 64 ? n : 64, "long and short");
    }
}

TEST(starts_with_knows_prefixes)
{
    CHECK_INT(text_starts_with("CPROF_X", "CPROF_"), true, "prefix");
    CHECK_INT(text_starts_with("CPRO", "CPROF_"), false, "shorter");
    CHECK_INT(text_starts_with("", ""), true, "empty");
    CHECK_INT(text_starts_with("XCPROF_", "CPROF_"), false, "inside");
}
