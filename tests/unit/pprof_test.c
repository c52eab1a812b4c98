#include "encoder/pprof.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/compiler.h"
#include "encoder/profile.pb-c.h"
#include "encoder/strings.h"
#include "tests/check.h"
#include "tests/unit/streams.h"

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
#define SANITIZED 1 /* has its own malloc and large frames */
#else
#define SANITIZED 0
#endif

enum { FILE_MAX_BYTES = 8 << 20 };

/* ---- inputs ---- */

static const struct pprof_type heap_types[] = {
    {"alloc_objects", "count"},
    {"alloc_space",   "bytes"},
    {"inuse_objects", "count"},
    {"inuse_space",   "bytes"},
};

/* One of everything: an inlined call, a pseudo frame, both kinds of label, no build id. */
static struct pprof_input small_input(void)
{
    static const struct pprof_mapping mappings[] = {
        {0x400000,       0x452000,       0x1000, "/usr/bin/server", "c0ffee", true,  true,  true,  true },
        {0x7f0000001000, 0x7f0000003000, 0,      "[vdso]",          NULL,     false, false, false, false},
    };
    static const struct pprof_function functions[] = {
        {"main",    "/src/main.c", 10},
        {"_Z3foov", "/src/main.c", 0 },
        {"[lost]",  NULL,          0 },
    };
    static const struct pprof_line inlined[] = {
        {2, 33},
        {1, 12},
    };
    static const struct pprof_line lost[] = {
        {3, 0}
    };
    static const struct pprof_location locations[] = {
        {1, 0x401234,       inlined, 2, 0},
        {2, 0x7f0000001010, NULL,    0, 0},
        {0, 0,              lost,    1, 0},
    };
    static const struct pprof_label labels[] = {
        {"bytes",  NULL,     1024, "bytes"},
        {"thread", "worker", 0,    NULL   },
        {"tid",    NULL,     77,   NULL   },
    };
    static const uint32_t stack[] = {2, 1}, pseudo[] = {3};
    static const int64_t values[2][4] = {
        {2050, 2099200, 1537, 1574400},
        {0,    0,       0,    1      },
    };
    static const struct pprof_sample samples[] = {
        {stack,  values[0], labels, 2, 3},
        {pseudo, values[1], NULL,   1, 0},
    };
    static const char *const comments[] = {"profile: heap", "pid: 4711"};

    return (struct pprof_input){
        .types = heap_types,
        .n_types = 4,
        .period_type = {"space", "bytes"},
        .period = 524288,
        .default_type = "inuse_space",
        .time_ns = 1700000000123456789,
        .duration_ns = 5000000000,
        .mappings = mappings,
        .n_mappings = 2,
        .functions = functions,
        .n_functions = 3,
        .locations = locations,
        .n_locations = 3,
        .samples = samples,
        .n_samples = 2,
        .comments = comments,
        .n_comments = 2,
    };
}

static struct pprof_input empty_input(void)
{
    return (struct pprof_input){
        .types = heap_types, .n_types = 4, .period_type = {"space", "bytes"},
                .period = 1
    };
}

/* `n` entries in every table; the numbers reach their largest packed sizes. */
static struct pprof_input large_input(uint32_t n)
{
    static struct pprof_mapping mappings[6000];
    static struct pprof_function functions[6000];
    static struct pprof_line lines[6000];
    static struct pprof_location locations[6000];
    static struct pprof_sample samples[6000];
    static struct pprof_label labels[6000];
    static int64_t values[6000][4];
    static uint32_t ids[6000];
    static char names[6000][32];
    static const char *comments[6000];
    struct pprof_input input = empty_input();

    for (uint32_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "function_%u", i);
        comments[i] = names[n - 1 - i];
        mappings[i] =
            (struct pprof_mapping){i * 4096ull,  UINT64_MAX - i, i << 12,
                                   names[i / 2], names[i],       .has_functions = i % 2};
        functions[i] = (struct pprof_function){names[i], i % 3 ? "a.c" : NULL, i};
        lines[i] = (struct pprof_line){n - i, INT64_MAX - i};
        locations[i] =
            (struct pprof_location){i % (n + 1), UINT64_MAX - i, &lines[i / 2], 1 + i % 2, 0};
        ids[i] = n - i;
        labels[i] = (struct pprof_label){"bytes", NULL, i, "bytes"};
        for (size_t v = 0; v < 4; v++)
            values[i][v] = (int64_t)(i * v) + 1;
        samples[i] =
            (struct pprof_sample){ids + i / 2, values[i], &labels[i], 1 + i / 2, i % 2};
    }
    input.mappings = mappings;
    input.functions = functions;
    input.locations = locations;
    input.samples = samples;
    input.comments = comments;
    input.n_mappings = input.n_functions = input.n_locations = n;
    input.n_samples = input.n_comments = n;
    return input;
}

/* The largest entries there can be: every piece of the workspace is needed to its end. */
static struct pprof_input wide_input(void)
{
    enum { N = 5000 };
    static uint32_t stack[N];
    static struct pprof_line lines[N];
    static struct pprof_label labels[PPROF_LABELS_MAX];
    static struct pprof_type types[PPROF_TYPES_MAX];
    static int64_t values[PPROF_TYPES_MAX];
    static struct pprof_function function;
    static struct pprof_location location = {0, UINT64_MAX, lines, N, 0};
    static struct pprof_sample sample = {stack, values, labels, N, PPROF_LABELS_MAX};
    static char name[100001];
    struct pprof_input input = empty_input();

    memset(name, 0xff, sizeof name - 1);
    function = (struct pprof_function){name, name, INT64_MIN};
    for (size_t i = 0; i < N; i++) {
        stack[i] = 1;
        lines[i] = (struct pprof_line){1, INT64_MIN};
    }
    for (size_t i = 0; i < PPROF_LABELS_MAX; i++)
        labels[i] = (struct pprof_label){"key", NULL, INT64_MIN, "unit"};
    for (size_t i = 0; i < PPROF_TYPES_MAX; i++) {
        types[i] = (struct pprof_type){"type", "unit"};
        values[i] = INT64_MAX;
    }
    input.types = types;
    input.n_types = PPROF_TYPES_MAX;
    input.functions = &function;
    input.locations = &location;
    input.samples = &sample;
    input.n_functions = input.n_locations = input.n_samples = 1;
    return input;
}

/* ---- encoding and decoding ---- */

static char file_bytes[FILE_MAX_BYTES];

/* Encodes into file_bytes with the promised workspace, then with just what that took. */
static size_t encode(const struct pprof_input *input)
{
    struct sink_memory sink;

    for (size_t i = 0, size = pprof_workspace_bytes(input); i < 2; i++) {
        struct workspace work = workspace_new(size);
        sink_memory_init(&sink, file_bytes, sizeof file_bytes);
        CHECK_INT(pprof_encode(input, &sink.sink, &work), 0, "encode");
        size = work.used;
        free(work.base);
    }
    return sink.size;
}

static Perftools__Profiles__Profile *decode(const char *packed, size_t packed_size)
{
    size_t size;
    unsigned char *content = gunzip(packed, packed_size, &size);
    Perftools__Profiles__Profile *profile = NULL;

    if (content)
        profile = perftools__profiles__profile__unpack(NULL, size, content);
    CHECK(profile);
    free(content);
    return profile;
}

static Perftools__Profiles__Profile *encode_and_decode(const struct pprof_input *input)
{
    return decode(file_bytes, encode(input));
}

static void profile_free(Perftools__Profiles__Profile *profile)
{
    perftools__profiles__profile__free_unpacked(profile, NULL);
}

/* ---- comparing; `what` says which input it was ---- */

static void check_text(const Perftools__Profiles__Profile *p, int64_t number, const char *want,
                       const char *what)
{
    char *repaired;

    if (number < 0 || (size_t)number >= p->n_string_table) {
        FAIL("%s: string index %" PRId64 " of %zu", what, number, p->n_string_table);
        return;
    }
    if (!want || !*want) {
        CHECK_INT(number, 0, what);
        return;
    }
    repaired = malloc(UTF8_GROWTH * strlen(want) + 1);
    utf8_copy(repaired, want);
    CHECK_STR(p->string_table[number], repaired, what);
    free(repaired);
}

static void check_header(const Perftools__Profiles__Profile *p, const struct pprof_input *input,
                         const char *what)
{
    CHECK_INT(p->n_sample_type, input->n_types, what);
    for (size_t i = 0; i < input->n_types; i++) {
        check_text(p, p->sample_type[i]->type, input->types[i].type, what);
        check_text(p, p->sample_type[i]->unit, input->types[i].unit, what);
    }
    check_text(p, p->period_type->type, input->period_type.type, what);
    check_text(p, p->period_type->unit, input->period_type.unit, what);
    CHECK_INT(p->period, input->period, what);
    CHECK_INT(p->time_nanos, input->time_ns, what);
    CHECK_INT(p->duration_nanos, input->duration_ns, what);
    check_text(p, p->default_sample_type, input->default_type, what);
    CHECK_INT(p->n_comment, input->n_comments, what);
    for (size_t i = 0; i < input->n_comments; i++)
        check_text(p, p->comment[i], input->comments[i], what);
    CHECK_INT(p->drop_frames | p->keep_frames | p->doc_url, 0, what);
}

static void check_sample(const Perftools__Profiles__Profile *p,
                         const Perftools__Profiles__Sample *got,
                         const struct pprof_sample *want, size_t n_types, const char *what)
{
    CHECK_INT(got->n_location_id, want->n_locations, what);
    for (size_t i = 0; i < want->n_locations; i++)
        CHECK_INT(got->location_id[i], want->locations[i], what);
    CHECK_INT(got->n_value, n_types, what);
    for (size_t i = 0; i < n_types; i++)
        CHECK_INT(got->value[i], want->values[i], what);
    CHECK_INT(got->n_label, want->n_labels, what);
    for (size_t i = 0; i < want->n_labels; i++) {
        const struct pprof_label *label = &want->labels[i];
        check_text(p, got->label[i]->key, label->key, what);
        check_text(p, got->label[i]->str, label->text, what);
        CHECK_INT(got->label[i]->num, label->text ? 0 : label->number, what);
        check_text(p, got->label[i]->num_unit, label->text ? NULL : label->unit, what);
    }
}

static void check_mapping(const Perftools__Profiles__Profile *p,
                          const Perftools__Profiles__Mapping *got,
                          const struct pprof_mapping *want, const char *what)
{
    CHECK_INT(got->memory_start, want->start, what);
    CHECK_INT(got->memory_limit, want->limit, what);
    CHECK_INT(got->file_offset, want->file_offset, what);
    check_text(p, got->filename, want->file, what);
    check_text(p, got->build_id, want->build_id, what);
    CHECK_INT(got->has_functions, want->has_functions, what);
    CHECK_INT(got->has_filenames, want->has_filenames, what);
    CHECK_INT(got->has_line_numbers, want->has_line_numbers, what);
    CHECK_INT(got->has_inline_frames, want->has_inline_frames, what);
}

static void check_location(const Perftools__Profiles__Location *got,
                           const struct pprof_location *want, const char *what)
{
    CHECK_INT(got->mapping_id, want->mapping, what);
    CHECK_INT(got->address, want->address, what);
    CHECK_INT(got->is_folded, 0, what);
    CHECK_INT(got->n_line, want->n_lines, what);
    for (size_t i = 0; i < want->n_lines; i++) {
        CHECK_INT(got->line[i]->function_id, want->lines[i].function, what);
        CHECK_INT(got->line[i]->line, want->lines[i].line, what);
    }
}

static void check_function(const Perftools__Profiles__Profile *p,
                           const Perftools__Profiles__Function *got,
                           const struct pprof_function *want, const char *what)
{
    check_text(p, got->name, want->name, what);
    CHECK_INT(got->system_name, got->name, what);
    check_text(p, got->filename, want->filename, what);
    CHECK_INT(got->start_line, want->start_line, what);
}

/* Encodes `input` and compares every field and every rule of the format. */
static void check_equal(const Perftools__Profiles__Profile *p, const struct pprof_input *input,
                        const char *what)
{
    if (!p)
        return;
    CHECK(p->n_string_table > 0);
    CHECK_STR(p->string_table[0], "", what);
    check_header(p, input, what);
    CHECK_INT(p->n_sample, input->n_samples, what);
    for (size_t i = 0; i < p->n_sample; i++)
        check_sample(p, p->sample[i], &input->samples[i], input->n_types, what);
    CHECK_INT(p->n_mapping, input->n_mappings, what);
    for (size_t i = 0; i < p->n_mapping; i++) {
        CHECK_INT(p->mapping[i]->id, i + 1, what);
        check_mapping(p, p->mapping[i], &input->mappings[i], what);
    }
    CHECK_INT(p->n_location, input->n_locations, what);
    for (size_t i = 0; i < p->n_location; i++) {
        CHECK_INT(p->location[i]->id, i + 1, what);
        check_location(p->location[i], &input->locations[i], what);
    }
    CHECK_INT(p->n_function, input->n_functions, what);
    for (size_t i = 0; i < p->n_function; i++) {
        CHECK_INT(p->function[i]->id, i + 1, what);
        check_function(p, p->function[i], &input->functions[i], what);
    }
}

static void check_round_trip(const struct pprof_input *input, const char *what)
{
    Perftools__Profiles__Profile *p = encode_and_decode(input);

    check_equal(p, input, what);
    profile_free(p);
}

/* ---- the tests ---- */

TEST(small_profile_keeps_every_field)
{
    const struct pprof_input input = small_input();

    check_round_trip(&input, "small");
}

TEST(empty_profile_has_its_types)
{
    const struct pprof_input input = empty_input();

    check_round_trip(&input, "empty");
}

TEST(tables_of_any_size_survive)
{
    static const uint32_t sizes[] = {1, 2, 255, 256, 257, 1000};

    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        const struct pprof_input input = large_input(sizes[i]);
        char what[32];
        snprintf(what, sizeof what, "%u entries", sizes[i]);
        check_round_trip(&input, what);
    }
}

TEST(largest_entries_fit_into_the_chunk)
{
    const struct pprof_input input = wide_input();

    check_round_trip(&input, "wide");
}

TEST(broken_utf8_is_repaired_everywhere)
{
    static const char bad[] = "caf\xe9", good[] = "caf\xef\xbf\xbd";
    static const struct pprof_type type = {bad, bad};
    static const struct pprof_function function = {bad, bad, 0};
    static const struct pprof_mapping mapping = {.limit = 1, .file = bad, .build_id = bad};
    static const struct pprof_label label = {.key = bad, .text = bad};
    static const int64_t value = 1;
    static const struct pprof_sample sample = {
        .values = &value, .labels = &label, .n_labels = 1};
    static const char *const comment = bad;
    const struct pprof_input input = {
        .types = &type,
        .n_types = 1,
        .period_type = type,
        .default_type = bad,
        .mappings = &mapping,
        .n_mappings = 1,
        .functions = &function,
        .n_functions = 1,
        .samples = &sample,
        .n_samples = 1,
        .comments = &comment,
        .n_comments = 1,
    };
    check_round_trip(&input, "broken");
    Perftools__Profiles__Profile *p = encode_and_decode(&input);
    CHECK_INT(p->n_string_table, 2, "texts");
    CHECK_STR(p->string_table[1], good, "repaired");
    profile_free(p);
}

TEST(equal_texts_are_stored_once)
{
    const struct pprof_input input = small_input();
    Perftools__Profiles__Profile *p = encode_and_decode(&input);

    for (size_t i = 0; i < p->n_string_table; i++) {
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(p->string_table[i], p->string_table[j]));
    }
    profile_free(p);
}

TEST(samples_of_nothing_are_left_out)
{
    static const int64_t zero[4], one[4] = {0, 0, 0, 1};
    static const struct pprof_sample samples[] = {
        {.values = zero}, {.values = one}, {.values = zero}};
    struct pprof_input input = empty_input();

    input.samples = samples;
    input.n_samples = 3;
    Perftools__Profiles__Profile *p = encode_and_decode(&input);
    CHECK_INT(p->n_sample, 1, "samples");
    CHECK_INT(p->sample[0]->value[3], 1, "the right one");
    profile_free(p);
}

TEST(equal_input_gives_equal_bytes)
{
    const struct pprof_input input = large_input(300);
    const size_t size = encode(&input);
    char *first = malloc(size);

    memcpy(first, file_bytes, size);
    CHECK_INT(encode(&input), size, "size");
    CHECK(!memcmp(first, file_bytes, size));
    free(first);
}

TEST(outputs_of_one_input_differ_in_default_type_and_first_comment_only)
{
    static const char *const more[] = {"comment of this one alone", "inuse_space"};
    static char bytes[2][1 << 20];
    struct pprof_input input = large_input(300);
    struct workspace work = workspace_new(pprof_workspace_bytes(&input));
    struct sink_memory sinks[2];
    struct pprof_output outputs[2];

    input.comments = (const char *const[]){"the comment that each output replaces", more[0]};
    input.n_comments = 2;
    free(work.base);
    work = workspace_new(pprof_workspace_bytes(&input));
    for (size_t i = 0; i < 2; i++) {
        sink_memory_init(&sinks[i], bytes[i], sizeof bytes[i]);
        outputs[i] = (struct pprof_output){
            .sink = &sinks[i].sink,
            .default_type = i ? "alloc_space" : NULL,
            .comment = more[i],
        };
    }
    CHECK_INT(pprof_encode_each(&input, outputs, 2, &work), 0, "encode");
    for (size_t i = 0; i < 2; i++) {
        struct pprof_input wanted = input;
        wanted.default_type = outputs[i].default_type;
        wanted.comments = (const char *const[]){more[i], more[0]};
        CHECK_INT(outputs[i].err, 0, "err");
        Perftools__Profiles__Profile *p = decode(bytes[i], sinks[i].size);
        check_equal(p, &wanted, i ? "second" : "first");
        profile_free(p);
    }
    free(work.base);
}

TEST(a_comment_longer_than_every_text_is_rejected)
{
    const struct pprof_input input = small_input();
    struct sink_failing sink = {.sink.write = failing_write};
    struct workspace work = workspace_new(pprof_workspace_bytes(&input));
    struct pprof_output output = {.sink = &sink.sink};
    char comment[2000];

    memset(comment, 'x', sizeof comment);
    comment[sizeof comment - 1] = '\0';
    output.comment = comment;
    CHECK_INT(pprof_encode_each(&input, &output, 1, &work), -EINVAL, "too long");
    CHECK_INT(output.err, -EINVAL, "of the output");
    CHECK_INT(sink.failed, 0, "nothing written");
    free(work.base);
}

/* Whenever the sink of one fails: the other is whole. */
TEST(an_output_that_fails_leaves_the_others_whole)
{
    static char bytes[1 << 20];
    const struct pprof_input input = large_input(1000);
    size_t n_writes = 0;

    for (int err = -1; err != 0; n_writes++) {
        struct workspace work = workspace_new(pprof_workspace_bytes(&input));
        struct sink_failing failing = {.sink.write = failing_write, .n_good = n_writes};
        struct sink_memory good;
        struct pprof_output outputs[] = {{.sink = &failing.sink}, {.sink = &good.sink}};
        sink_memory_init(&good, bytes, sizeof bytes);
        CHECK_INT(pprof_encode_each(&input, outputs, 2, &work), 0, "encode");
        err = outputs[0].err;
        CHECK(err == 0 || err == -EDQUOT);
        CHECK_INT(failing.n_after, 0, "writes after the failure");
        CHECK_INT(outputs[1].err, 0, "the other");
        Perftools__Profiles__Profile *p = decode(bytes, good.size);
        CHECK(p && p->n_sample == 1000 && p->n_string_table > 1000);
        profile_free(p);
        free(work.base);
    }
    CHECK(n_writes > 3);
}

/* -EINVAL, before anything is written or taken. */
static void check_rejected(const struct pprof_input *input, const char *what)
{
    struct sink_failing sink = {.sink.write = failing_write};
    struct workspace work = workspace_new(pprof_workspace_bytes(input));

    CHECK_INT(pprof_encode(input, &sink.sink, &work), -EINVAL, what);
    CHECK_INT(sink.failed, 0, what);
    CHECK_INT(work.used, 0, what);
    free(work.base);
}

TEST(bad_samples_are_rejected)
{
    static const uint32_t zero_id[] = {1, 0}, large_id[] = {1, 4};
    static const int64_t good[4] = {1}, negative[4] = {1, 0, -1, 0};
    static const struct pprof_label labels[PPROF_LABELS_MAX + 1] = {{.key = "k"}}, no_key[1];
    static const struct {
        const char *what;
        struct pprof_sample sample;
    } cases[] = {
        {"location 0",        {.locations = zero_id, .n_locations = 2, .values = good}        },
        {"location 4 of 3",   {.locations = large_id, .n_locations = 2, .values = good}       },
        {"negative value",    {.values = negative}                                            },
        {"label without key", {.values = good, .labels = no_key, .n_labels = 1}               },
        {"nine labels",       {.values = good, .labels = labels, .n_labels = COUNT_OF(labels)}},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pprof_input input = small_input();
        input.samples = &cases[i].sample;
        input.n_samples = 1;
        check_rejected(&input, cases[i].what);
    }
}

TEST(bad_locations_are_rejected)
{
    static const struct pprof_line zero_id[] =
        {
            {0, 1}
    },
                                   large_id[] = {{1, 1}, {4, 1}};
    static const struct {
        const char *what;
        struct pprof_location location;
    } cases[] = {
        {"mapping 3 of 2",  {.mapping = 3}                   },
        {"function 0",      {.lines = zero_id, .n_lines = 1} },
        {"function 4 of 3", {.lines = large_id, .n_lines = 2}},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pprof_input input = small_input();
        input.locations = &cases[i].location;
        input.n_locations = 1;
        input.n_samples = 0;
        check_rejected(&input, cases[i].what);
    }
}

TEST(missing_texts_are_rejected)
{
    static const struct pprof_type no_type = {NULL, "count"}, no_unit = {"space", NULL};
    static const struct pprof_mapping mappings[2] = {{.file = "a"}, {.file = NULL}};
    static const struct pprof_function functions[3] = {{.name = "f"}, {.name = "g"}};
    static const char *const comments[2] = {"a", NULL};
    struct pprof_input input = small_input();

    input.types = &no_type, input.n_types = 1;
    check_rejected(&input, "type");
    input.types = &no_unit;
    check_rejected(&input, "unit");
    input = small_input(), input.period_type = no_type;
    check_rejected(&input, "period type");
    input.period_type = no_unit;
    check_rejected(&input, "period unit");
    input = small_input(), input.mappings = mappings;
    check_rejected(&input, "mapping without file");
    input = small_input(), input.functions = functions;
    check_rejected(&input, "function without name");
    input = small_input(), input.comments = comments;
    check_rejected(&input, "comment");
}

TEST(too_many_or_no_types_are_rejected)
{
    static const struct pprof_type types[PPROF_TYPES_MAX + 1] = {
        {"a", "b"}
    };
    struct pprof_input input = empty_input();

    input.n_types = 0;
    check_rejected(&input, "none");
    input.types = types;
    input.n_types = PPROF_TYPES_MAX + 1;
    check_rejected(&input, "nine");
}

TEST(every_smaller_workspace_is_enomem_before_the_first_byte)
{
    const struct pprof_input input = large_input(300);
    const size_t need_bytes = pprof_workspace_bytes(&input);
    size_t smallest_bytes = SIZE_MAX;

    for (size_t size = 0; size <= need_bytes; size += size + 4096 < need_bytes ? 208 : 16) {
        struct workspace work = workspace_new(size);
        struct sink_failing sink = {.sink.write = failing_write, .n_good = SIZE_MAX};
        const int err = pprof_encode(&input, &sink.sink, &work);
        CHECK(err == 0 || err == -ENOMEM);
        CHECK(work.used <= size);
        CHECK_INT(sink.n_good == SIZE_MAX, err == -ENOMEM, "nothing written");
        CHECK(err == 0 || smallest_bytes == SIZE_MAX);
        if (err == 0 && smallest_bytes == SIZE_MAX)
            smallest_bytes = size;
        free(work.base);
    }
    CHECK(smallest_bytes <= need_bytes);
    if (need_bytes - smallest_bytes > 40 << 10)
        FAIL("bound %zu, taken %zu", need_bytes, smallest_bytes);
}

TEST(error_of_the_sink_comes_back_from_every_write)
{
    const struct pprof_input input = large_input(1000);
    struct workspace work;
    size_t n_writes = 0;

    for (int err = -1; err != 0; n_writes++) {
        struct sink_failing sink = {.sink.write = failing_write, .n_good = n_writes};
        work = workspace_new(pprof_workspace_bytes(&input));
        err = pprof_encode(&input, &sink.sink, &work);
        CHECK(err == 0 || err == -EDQUOT);
        CHECK_INT(sink.n_after, 0, "writes after the failure");
        free(work.base);
    }
    CHECK(n_writes > 3);
}

/* ---- in a signal handler ---- */

static int n_mallocs;

#if !SANITIZED
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
    n_mallocs++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    n_mallocs++;
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    n_mallocs++;
    return __libc_realloc(old, size);
}
#endif

enum { STACK_BYTES = 128 << 10, STACK_PAINT = 0xa5 };

static struct {
    struct pprof_input input;
    struct sink_memory sink;
    struct workspace work;
    int err;
} job;

static void on_signal(int signal)
{
    if (signal == SIGUSR1)
        job.err = pprof_encode(&job.input, &job.sink.sink, &job.work);
}

/* Bytes of the alternate stack that the handler of `signal` touches. */
static size_t stack_bytes_of(int signal, unsigned char *stack)
{
    size_t untouched = 0;

    memset(stack, STACK_PAINT, STACK_BYTES);
    raise(signal);
    while (untouched < STACK_BYTES && stack[untouched] == STACK_PAINT)
        untouched++;
    return STACK_BYTES - untouched;
}

TEST(encodes_in_a_signal_handler_on_a_small_stack_without_malloc)
{
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    unsigned char *stack = malloc(STACK_BYTES);
    const stack_t alternate = {.ss_sp = stack, .ss_size = STACK_BYTES};
    const stack_t none = {.ss_flags = SS_DISABLE};

    job.input = large_input(1000);
    job.work = workspace_new(pprof_workspace_bytes(&job.input));
    sink_memory_init(&job.sink, file_bytes, sizeof file_bytes);
    CHECK_INT(sigaltstack(&alternate, NULL), 0, "sigaltstack");
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    const size_t frame_bytes = stack_bytes_of(SIGUSR2, stack);
    n_mallocs = 0;
    errno = 4711;
    const size_t stack_bytes = stack_bytes_of(SIGUSR1, stack) - frame_bytes;
    CHECK_INT(errno, 4711, "errno");
    CHECK_INT(n_mallocs, 0, "calls of malloc");
    CHECK_INT(job.err, 0, "encode");
    if (!SANITIZED && stack_bytes > 4096)
        FAIL("%zu bytes of stack", stack_bytes);
    sigaltstack(&none, NULL);
    free(job.work.base);
    free(stack);
}

/* ---- the real readers ---- */

/* Runs `command` with the small profile in $FILE and looks for `wanted` in what it prints. */
static void check_reader(const char *command, const char *const *wanted, size_t n_wanted)
{
    const struct pprof_input input = small_input();
    const size_t size = encode(&input);
    static char line[1000], output[16384];
    char path[] = "/tmp/cprof_pprof_test.XXXXXX";
    const int fd = mkstemp(path);
    struct sink_fd sink;

    sink_fd_init(&sink, fd);
    CHECK_INT(sink_write(&sink.sink, file_bytes, size), 0, "write");
    close(fd);
    snprintf(line, sizeof line, "FILE=%s; %s", path, command);
    FILE *reader = popen(line, "r");
    output[fread(output, 1, sizeof output - 1, reader)] = '\0';
    CHECK_INT(pclose(reader), 0, line);
    for (size_t i = 0; i < n_wanted; i++) {
        if (!strstr(output, wanted[i]))
            FAIL("%s: no \"%s\" in:\n%s", line, wanted[i], output);
    }
    unlink(path);
}

TEST(go_tool_pprof_reads_it)
{
    static const char *const wanted[] = {
        "PeriodType: space bytes",
        "Period: 524288",
        "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes[dflt]",
        "2050    2099200       1537    1574400: ",
        "thread:[worker]",
        "bytes:[1024 bytes]",
        "0x401234 M=1 _Z3foov /src/main.c:33",
        "0x7f0000001010 M=2",
        "3: 0x0 [lost]",
        "1: 0x400000/0x452000/0x1000 /usr/bin/server c0ffee [FN][FL][LN][IN]",
    };
    /* Go numbers locations anew or not, by its version: which they are is in the traces. */
    static const char *const traces[] = {
        "    1.50MB   [[vdso]]\n"
        "             _Z3foov (inline)\n"
        "             main\n"
        "--",
        "        1B   [lost]\n"
        "--",
    };

    if (system("command -v go >/dev/null")) {
        puts("# no go: skipped");
        return;
    }
    check_reader("go tool pprof -symbolize=none -raw $FILE 2>&1", wanted, COUNT_OF(wanted));
    check_reader("go tool pprof -symbolize=none -traces $FILE 2>&1", traces, COUNT_OF(traces));
}

TEST(protoc_reads_it)
{
    static const char *const wanted[] = {
        "sample_type {\n  type: 1\n  unit: 2\n}\n",
        "location_id: 2\n  location_id: 1\n  value: 2050\n",
        "string_table: \"\"\nstring_table: \"alloc_objects\"\n",
        "time_nanos: 1700000000123456789\n",
    };

    if (system("command -v protoc >/dev/null")) {
        puts("# no protoc: skipped");
        return;
    }
    check_reader("gunzip -c <$FILE | protoc --decode perftools.profiles.Profile --proto_path=."
                 " encoder/profile.proto 2>&1",
                 wanted, COUNT_OF(wanted));
}
