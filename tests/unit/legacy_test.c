#include "encoder/legacy.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/check.h"

static const struct pprof_mapping mappings[] = {
    {.start = 0x401000, .limit = 0x402000, .file_offset = 0x1000, .file = "/bin/server"},
};
static const struct pprof_function functions[] = {
    {.name = "opens"}, {.name = "main"}, {.name = "[lost]"}, {.name = "two\nlines"}};
static const struct pprof_line lines[] = {
    {.function = 1}, {.function = 2}, {.function = 3}, {.function = 4}};
static const struct pprof_location locations[] = {
    {.mapping = 1,  .address = 0x401135, .lines = &lines[0], .n_lines = 1, .offset = 0x15},
    {.mapping = 1,
     .address = 0x401175,
     .lines = &lines[1],
     .n_lines = 1,
     .offset = PPROF_NO_OFFSET},
    {.mapping = 0,  .address = 0,                .lines = &lines[2], .n_lines = 1},
    {.mapping = 1,
     .address = 0x401180,
     .lines = &lines[3],
     .n_lines = 1,
     .offset = PPROF_NO_OFFSET},
    {.mapping = 1,  .address = 0x401190       },
};
static const uint32_t stack_ids[][2] = {
    {1, 2},
    {3},
    {4},
    {5}
};

static int64_t values[4][4];
static struct pprof_sample samples[4];
static char got[1 << 16];

static struct pprof_input input_of(const struct pprof_type *types, size_t n_types, size_t n)
{
    for (size_t i = 0; i < n; i++)
        samples[i] = (struct pprof_sample){
            .locations = stack_ids[i], .values = values[i], .n_locations = i == 0 ? 2 : 1};
    return (struct pprof_input){
        .types = types,
        .n_types = n_types,
        .mappings = mappings,
        .n_mappings = 1,
        .functions = functions,
        .n_functions = 4,
        .locations = locations,
        .n_locations = 5,
        .samples = samples,
        .n_samples = n,
    };
}

static int write_with(const struct pprof_input *input, size_t work_bytes, size_t capacity)
{
    struct sink_memory sink;
    struct workspace work = {.base = calloc(1, work_bytes), .size = work_bytes};

    sink_memory_init(&sink, got, capacity);
    const int err = legacy_write(input, "conn", &sink.sink, &work);
    got[sink.size] = '\0';
    free(work.base);
    return err;
}

static const char *text_of(const struct pprof_input *input)
{
    CHECK_INT(write_with(input, legacy_workspace_bytes(input), sizeof got - 1), 0, "write");
    return got;
}

static const char *const maps =
    "\n--- Memory map: ---\n00401000-00402000 r-xp 00001000 00:00 0 /bin/server\n";

TEST(counts_are_sorted_and_named)
{
    static const struct pprof_type types[] = {
        {"conn", "count"}
    };
    char want[1024];

    memset(values, 0, sizeof values);
    values[0][0] = 2;
    values[1][0] = 7;
    values[2][0] = 1;
    const struct pprof_input input = input_of(types, 1, 3);
    snprintf(
        want, sizeof want, "%s%s",
        "conn profile: total 10\n"
        "7 @ 0x1\n#\t0x1\t[lost]\t\n\n"
        "2 @ 0x401136 "
        "0x401176\n#\t0x401136\topens+0x16\t/bin/server\n#\t0x401176\tmain\t/bin/server\n\n"
        "1 @ 0x401181\n#\t0x401181\ttwo lines\t/bin/server\n\n",
        maps);
    CHECK_STR(text_of(&input), want, "text");
}

TEST(a_second_value_is_a_comment)
{
    static const struct pprof_type types[] = {
        {"gpu",       "count"},
        {"gpu_space", "bytes"}
    };
    char want[1024];

    memset(values, 0, sizeof values);
    values[0][0] = 2;
    values[0][1] = 4096;
    const struct pprof_input input = input_of(types, 2, 1);
    snprintf(
        want, sizeof want, "%s%s",
        "conn profile: total 2\n2 @ 0x401136 0x401176\n#\t0x401136\topens+0x16\t/bin/server\n"
        "#\t0x401176\tmain\t/bin/server\n#\t4096 bytes\n\n",
        maps);
    CHECK_STR(text_of(&input), want, "text");
}

/* Readers refuse bytes in no object. */
TEST(heaps_are_sorted_by_bytes_in_use)
{
    static const struct pprof_type types[] = {
        {"alloc_objects", "count"},
        {"alloc_space",   "bytes"},
        {"inuse_objects", "count"},
        {"inuse_space",   "bytes"}
    };
    static const int64_t all[3][4] = {
        {5, 500,  1, 100 },
        {9, 900,  0, 0   },
        {3, 3000, 0, 1000}
    };

    memset(values, 0, sizeof values);
    memcpy(values, all, sizeof all);
    const struct pprof_input input = input_of(types, 4, 3);
    const char *text = text_of(&input);
    const char *first =
        "heap profile: 1: 1100 [17: 4400] @ heap/2\n1: 1000 [3: 3000] @ 0x401181\n";
    if (strncmp(text, first, strlen(first)) != 0)
        FAIL("begins with: %.120s", text);
    const char *second = strstr(text, "\n1: 100 [5: 500] @"),
               *third = strstr(text, "\n0: 0 [9: 900] @");
    CHECK(second && third && second < third);
}

TEST(waits_are_delays_and_counts)
{
    static const struct pprof_type types[] = {
        {"contentions", "count"      },
        {"delay",       "nanoseconds"}
    };

    memset(values, 0, sizeof values);
    values[0][0] = 3;
    values[0][1] = 7000;
    const struct pprof_input input = input_of(types, 2, 1);
    const char *first = "--- contention:\ncycles/second=1000000000\nsampling period=1\n7000 3 "
                        "@ 0x401136 0x401176\n";
    if (strncmp(text_of(&input), first, strlen(first)) != 0)
        FAIL("begins with: %.120s", got);
}

TEST(without_names_there_are_addresses)
{
    static const struct pprof_type types[] = {
        {"conn", "count"}
    };

    memset(values, 0, sizeof values);
    values[3][0] = 1;
    struct pprof_input input = input_of(types, 1, 4);
    input.samples = &samples[3];
    input.n_samples = 1;
    CHECK(strstr(text_of(&input), "\n1 @ 0x401191\n#\t0x401191\t\t/bin/server\n"));
}

TEST(an_empty_profile_has_a_total)
{
    static const struct pprof_type types[] = {
        {"conn", "count"}
    };
    const struct pprof_input input = input_of(types, 1, 0);

    CHECK_INT(strncmp(text_of(&input), "conn profile: total 0\n", 22), 0, "header");
}

TEST(errors_are_returned)
{
    static const struct pprof_type types[] = {
        {"conn", "count"}
    };

    memset(values, 0, sizeof values);
    values[0][0] = 1;
    const struct pprof_input input = input_of(types, 1, 1);
    CHECK_INT(write_with(&input, 100, sizeof got - 1), -ENOMEM, "little work space");
    CHECK_INT(write_with(&input, legacy_workspace_bytes(&input), 10), -ENOSPC, "little room");
}

/* More than the buffer holds, and every number of samples sorts. */
TEST(many_samples_come_out_in_order)
{
    enum { N = 900 };
    static const struct pprof_type types[] = {
        {"conn", "count"}
    };
    static struct pprof_sample many[N];
    static int64_t counts[N];
    struct pprof_input input = input_of(types, 1, 0);

    for (size_t n = 1; n <= N; n = n * 2 + 1) {
        for (size_t i = 0; i < n; i++) {
            counts[i] = (int64_t)(i * 617 % 1009 + 1);
            many[i] = (struct pprof_sample){
                .locations = stack_ids[3], .values = &counts[i], .n_locations = 1};
        }
        input.samples = many;
        input.n_samples = n;
        size_t seen = 0;
        long last = 1 << 30, value;
        for (const char *at = text_of(&input); (at = strstr(at, " @ 0x401191")); at++, seen++) {
            const char *line = at;
            while (line > got && line[-1] != '\n')
                line--;
            value = strtol(line, NULL, 10);
            if (value > last)
                FAIL("%zu samples: %ld after %ld", n, value, last);
            last = value;
        }
        CHECK_INT(seen, n, "records");
    }
}
