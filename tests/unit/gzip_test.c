#include "encoder/gzip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "tests/check.h"
#include "tests/unit/streams.h"

enum { PACKED_MAX_BYTES = 4 << 20 };

/* Half noise, half repetition. */
static unsigned char *content_new(size_t size)
{
    unsigned char *content = malloc(size + 1);
    uint32_t x = 1;

    for (size_t i = 0; i < size; i++) {
        x = x * 1664525 + 1013904223;
        content[i] = (unsigned char)((i >> 12) % 2 ? x >> 24 : i % 7);
    }
    return content;
}

/* Compresses in writes of `piece` bytes. */
static int gzip_all(struct sink *to, const unsigned char *content, size_t size, size_t piece)
{
    struct workspace work = workspace_new(GZIP_WORKSPACE_BYTES);
    struct gzip gzip;
    int err = gzip_init(&gzip, to, &work);

    for (size_t at = 0; err == 0 && at < size; at += piece)
        err = sink_write(&gzip.sink, content + at, size - at < piece ? size - at : piece);
    if (err == 0)
        err = gzip_finish(&gzip);
    free(work.base);
    return err;
}

TEST(output_is_one_member_with_the_content)
{
    static const struct {
        size_t size, piece;
    } cases[] = {
        {0,       1      },
        {1,       1      },
        {1000,    1      },
        {16384,   16384  },
        {16385,   16384  },
        {65536,   333    },
        {1 << 20, 4096   },
        {2 << 20, 2 << 20},
    };
    char *packed = malloc(PACKED_MAX_BYTES);

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sink_memory sink;
        char what[40];
        size_t size;
        snprintf(what, sizeof what, "%zu by %zu", cases[i].size, cases[i].piece);
        unsigned char *content = content_new(cases[i].size);
        sink_memory_init(&sink, packed, PACKED_MAX_BYTES);
        CHECK_INT(gzip_all(&sink.sink, content, cases[i].size, cases[i].piece), 0, what);
        unsigned char *back = gunzip(packed, sink.size, &size);
        CHECK_INT(size, cases[i].size, what);
        CHECK(back && !memcmp(back, content, size));
        free(content);
        free(back);
    }
    free(packed);
}

TEST(header_has_no_name_and_no_time)
{
    static const unsigned char header[8] = {0x1f, 0x8b, 8 /* deflate */};
    char packed[100];
    struct sink_memory sink;

    sink_memory_init(&sink, packed, sizeof packed);
    CHECK_INT(gzip_all(&sink.sink, (const unsigned char *)"x", 1, 1), 0, "gzip");
    CHECK(!memcmp(packed, header, sizeof header));
}

TEST(workspace_bytes_are_enough_and_not_wasteful)
{
    struct sink_memory sink;
    struct gzip gzip;

    for (size_t size = 0; size <= GZIP_WORKSPACE_BYTES; size += 1024) {
        struct workspace work = workspace_new(size);
        sink_memory_init(&sink, NULL, 0);
        const int err = gzip_init(&gzip, &sink.sink, &work);
        CHECK(err == 0 || (err == -ENOMEM && size < GZIP_WORKSPACE_BYTES));
        CHECK(work.used <= size);
        if (size < GZIP_WORKSPACE_BYTES - (32 << 10))
            CHECK_INT(err, -ENOMEM, "32 KiB less");
        free(work.base);
    }
}

TEST(error_of_the_sink_comes_back_from_every_write)
{
    const size_t size = 1 << 20;
    unsigned char *content = content_new(size);
    size_t n_writes = 0;

    for (;; n_writes++) {
        struct sink_failing sink = {.sink.write = failing_write, .n_good = n_writes};
        const int err = gzip_all(&sink.sink, content, size, 10000);
        if (err == 0)
            break;
        CHECK_INT(err, -EDQUOT, "err");
        CHECK_INT(sink.n_after, 0, "writes after the failure");
    }
    CHECK(n_writes > 10);
    free(content);
}

TEST(write_after_finish_is_an_error)
{
    struct workspace work = workspace_new(GZIP_WORKSPACE_BYTES);
    char packed[100];
    struct sink_memory sink;
    struct gzip gzip;

    sink_memory_init(&sink, packed, sizeof packed);
    CHECK_INT(gzip_init(&gzip, &sink.sink, &work), 0, "init");
    CHECK_INT(gzip_finish(&gzip), 0, "finish");
    CHECK_INT(sink_write(&gzip.sink, "x", 1), -EINVAL, "too late");
    free(work.base);
}

TEST(a_split_beginning_ends_in_several_ways)
{
    enum { BEGIN_BYTES = 100000, ROOM_BYTES = 200000 };
    static const char *const ends[] = {"the first end", "", "another end of it"};
    struct workspace work = workspace_new(GZIP_WORKSPACE_BYTES);
    unsigned char *begin = content_new(BEGIN_BYTES);
    char *packed = malloc(ROOM_BYTES), *common = malloc(ROOM_BYTES);
    struct sink_memory sink, end_sink;
    struct gzip_check check;
    struct gzip gzip;

    sink_memory_init(&sink, common, ROOM_BYTES);
    CHECK_INT(gzip_init(&gzip, &sink.sink, &work), 0, "init");
    CHECK_INT(sink_write(&gzip.sink, begin, BEGIN_BYTES), 0, "beginning");
    CHECK_INT(gzip_split(&gzip, &check), 0, "split");
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        size_t size;
        memcpy(packed, common, sink.size);
        sink_memory_init(&end_sink, packed + sink.size, ROOM_BYTES - sink.size);
        gzip_go_on(&gzip, &check, &end_sink.sink);
        CHECK_INT(sink_write(&gzip.sink, ends[i], strlen(ends[i])), 0, ends[i]);
        CHECK_INT(gzip_finish(&gzip), 0, ends[i]);
        unsigned char *back = gunzip(packed, sink.size + end_sink.size, &size);
        CHECK_INT(size, BEGIN_BYTES + strlen(ends[i]), ends[i]);
        CHECK(back && !memcmp(back, begin, BEGIN_BYTES));
        CHECK(back && !memcmp(back + BEGIN_BYTES, ends[i], strlen(ends[i])));
        free(back);
    }
    free(begin);
    free(packed);
    free(common);
    free(work.base);
}
