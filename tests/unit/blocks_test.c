/* Answers of unknown size: every byte comes out again, and all memory goes back. */
#include "agent/blocks.h"

#include <errno.h>
#include <string.h>

#include "agent/text_sink.h"
#include "base/arena.h"
#include "tests/unit/help.h"

enum { CAP_BYTES = 64 << 20 };

static char byte_at(size_t i)
{
    return (char)(i * 31 + i / 251);
}

TEST(what_was_written_in_pieces_is_read_in_order)
{
    static const size_t sizes[] = {1, 100, 16 << 10, 3, 70000, 500000, 5 << 20};
    static char piece[5 << 20];
    struct blocks blocks;
    size_t n = 0, at = 0, size;

    arena_set_cap(CAP_BYTES, 0);
    const size_t used = arena_used_bytes();
    blocks_init(&blocks);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            piece[k] = byte_at(n + k);
        CHECK_INT(sink_write(&blocks.sink, piece, sizes[i]), 0, "write");
        n += sizes[i];
    }
    CHECK_INT(blocks.n_bytes, n, "bytes");
    for (const char *data; (data = blocks_peek(&blocks, &size));) {
        const size_t take = size > 1000 ? 1000 + size / 2 : size;
        for (size_t k = 0; k < take; k++)
            if (data[k] != byte_at(at + k))
                FAIL("byte %zu is wrong", at + k);
        blocks_skip(&blocks, take);
        at += take;
    }
    CHECK_INT(at, n, "bytes read");
    CHECK_INT(arena_used_bytes(), used, "memory");
}

TEST(a_full_arena_is_an_error_and_nothing_stays)
{
    static char piece[1 << 20];
    struct blocks blocks;
    int err = 0;

    arena_set_cap(8 << 20, 0);
    const size_t used = arena_used_bytes();
    blocks_init(&blocks);
    for (int i = 0; i < 16 && err == 0; i++)
        err = sink_write(&blocks.sink, piece, sizeof piece);
    CHECK_INT(err, -ENOMEM, "write");
    blocks_drop(&blocks);
    CHECK_INT(arena_used_bytes(), used, "memory");
    arena_set_cap(CAP_BYTES, 0);
}

static const char *written(void (*add)(struct text_sink *out, const char *string),
                           const char *string)
{
    static char text[64 << 10];
    struct sink_memory memory;
    struct text_sink out;

    sink_memory_init(&memory, text, sizeof text - 1);
    text_sink_init(&out, &memory.sink);
    add(&out, string);
    CHECK_INT(text_sink_finish(&out), 0, "finish");
    text[memory.size] = '\0';
    return text;
}

TEST(texts_are_escaped_for_where_they_stand)
{
    CHECK_STR(written(text_sink_html, "<a href=\"x\">&'\x01"),
              "&lt;a href=&quot;x&quot;&gt;&amp;&#39;?", "html");
    CHECK_STR(written(text_sink_json, "\"</script>\\\n&"),
              "\\\"\\u003c/script\\u003e\\\\\\u001a\\u0026", "json");
    CHECK_STR(written(text_sink_label, "a\"b\\\n"), "a\\\"b\\\\\\n", "label");
}

TEST(a_text_longer_than_the_buffer_comes_through_whole)
{
    char name[3 * TEXT_SINK_BYTES + 8];

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    CHECK_STR(written(text_sink_add, name), name, "plain");
    CHECK_STR(written(text_sink_html, name), name, "escaped");
}
