#include "encoder/strings.h"

#include <errno.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "tests/check.h"
#include "tests/unit/streams.h"

#define R "\xef\xbf\xbd" /* U+FFFD */

/* A table for `n` texts in a workspace of exactly the promised size. */
static struct workspace table_new(struct strings *strings, size_t n)
{
    struct workspace work = workspace_new(strings_workspace_bytes(n));

    CHECK_INT(strings_init(strings, n, &work), 0, "init");
    return work;
}

TEST(numbers_follow_first_use)
{
    static const struct {
        const char *text;
        int number;
    } cases[] = {
        {"main",  1},
        {"",      0},
        {"free",  2},
        {NULL,    0},
        {"main",  1},
        {"main2", 3},
        {"free",  2},
    };
    struct strings strings;
    struct workspace work = table_new(&strings, 3);

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_INT(strings_number(&strings, cases[i].text), cases[i].number,
                  cases[i].text ? cases[i].text : "NULL");
    CHECK_INT(strings.n_texts, 4, "texts");
    CHECK_STR(strings.texts[0], "", "first");
    CHECK_STR(strings.texts[3], "main2", "last");
    free(work.base);
}

TEST(equal_texts_at_different_places_have_one_number)
{
    char copy[] = "a function name of more than eight bytes";
    struct strings strings;
    struct workspace work = table_new(&strings, 4);

    const int64_t number = strings_number(&strings, "a function name of more than eight bytes");
    CHECK_INT(strings_number(&strings, copy), number, "copy");
    copy[sizeof copy - 2] = 'S';
    CHECK_INT(strings_number(&strings, copy), number + 1, "last byte differs");
    free(work.base);
}

TEST(full_table_still_finds_what_it_has)
{
    enum { N = 3000 };
    static char texts[N + 1][16];
    struct strings strings;
    struct workspace work = table_new(&strings, N);

    for (int i = 0; i <= N; i++)
        snprintf(texts[i], sizeof texts[i], "text %d", i);
    for (int i = 0; i < N; i++)
        CHECK_INT(strings_number(&strings, texts[i]), i + 1, texts[i]);
    CHECK_INT(strings_number(&strings, texts[N]), -ENOMEM, "one too many");
    for (int i = 0; i < N; i++)
        CHECK_INT(strings_number(&strings, texts[i]), i + 1, texts[i]);
    free(work.base);
}

TEST(table_of_nothing_knows_the_empty_text)
{
    struct strings strings;
    struct workspace work = table_new(&strings, 0);

    CHECK_INT(strings_number(&strings, ""), 0, "empty");
    CHECK_INT(strings_number(&strings, "x"), -ENOMEM, "no room");
    free(work.base);
}

TEST(small_workspace_is_enomem)
{
    const size_t need_bytes = strings_workspace_bytes(1000);
    size_t n_failed = 0;

    for (size_t size = 0; size <= need_bytes; size += 16) {
        struct strings strings;
        struct workspace work = workspace_new(size);
        const int err = strings_init(&strings, 1000, &work);
        CHECK(err == 0 || err == -ENOMEM);
        n_failed += err < 0;
        free(work.base);
    }
    CHECK(n_failed + 3 >= need_bytes / 16);  // the bound is tight
}

TEST(broken_utf8_becomes_replacement_characters)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"",                                        ""                                       },
        {"plain ascii \x01\x7f",                    "plain ascii \x01\x7f"                   },
        {"h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\x80",                                    R                                        },
        {"a\xffz",                                  "a" R "z"                                },
        {"\xc0\xaf",                                R R                                      }, /* overlong / */
        {"\xc1\xbf",                                R R                                      },
        {"\xe0\x9f\xbf",                            R R R                                    }, /* overlong */
        {"\xe0\xa0\x80",                            "\xe0\xa0\x80"                           },
        {"\xed\x9f\xbf",                            "\xed\x9f\xbf"                           },
        {"\xed\xa0\x80",                            R R R                                    }, /* surrogate */
        {"\xf0\x8f\xbf\xbf",                        R R R R                                  }, /* overlong */
        {"\xf4\x8f\xbf\xbf",                        "\xf4\x8f\xbf\xbf"                       },
        {"\xf4\x90\x80\x80",                        R R R R                                  }, /* > 10ffff */
        {"\xf5\x80\x80\x80",                        R R R R                                  },
        {"\xe2\x82",                                R R                                      }, /* cut */
        {"\xf0\x9f\x98",                            R R R                                    },
        {"\xc3",                                    R                                        },
        {"\xe2\x82(",                               R R "("                                  },
        {"\xc3\xc3\xa9",                            R "\xc3\xa9"                             },
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        /* Exact heap blocks: ASan sees a read behind the end and a write behind the bound. */
        char *text = strdup(cases[i].text);
        char *out = malloc(UTF8_GROWTH * strlen(text) + 1);
        utf8_copy(out, text);
        CHECK_STR(out, cases[i].want, cases[i].text);
        free(text);
        free(out);
    }
}

static size_t utf8_encode(char *ret_text, uint32_t c)
{
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = n; i-- > 1; c >>= 6)
        ret_text[i] = (char)(0x80 | (c & 0x3f));
    ret_text[0] = (char)(lead[n] | c);
    ret_text[n] = '\0';
    return n;
}

TEST(every_character_of_unicode_survives)
{
    char text[5], out[13];

    for (uint32_t c = 1; c <= 0x10ffff; c++) {
        const size_t n = utf8_encode(text, c);
        const int surrogate = c >= 0xd800 && c <= 0xdfff;
        utf8_copy(out, text);
        if (strcmp(out, surrogate ? R R R : text))
            FAIL("U+%04X (%zu bytes) became \"%s\"", c, n, out);
    }
}
