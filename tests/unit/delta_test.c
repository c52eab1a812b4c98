/* What happened between two snapshots, on profiles made by hand. */
#include "encoder/delta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"

enum { TYPES = 4, SAMPLES_MAX = 8 };

static const struct pprof_type heap_types[TYPES] = {
    {"alloc_objects", "count"},
    {"alloc_space",   "bytes"},
    {"inuse_objects", "count"},
    {"inuse_space",   "bytes"},
};

static const struct pprof_function functions[] = {{.name = "f"}, {.name = "g"}};
static const struct pprof_line line_f = {.function = 1}, line_g = {.function = 2};

/* The same places under other numbers. */
static const struct pprof_location before_locations[] = {
    {.mapping = 1, .address = 0x10, .lines = &line_f, .n_lines = 1},
    {.mapping = 1, .address = 0x20, .lines = &line_g, .n_lines = 1},
};
static const struct pprof_location after_locations[] = {
    {.mapping = 1, .address = 0x20, .lines = &line_g, .n_lines = 1},
    {.mapping = 1, .address = 0x10, .lines = &line_f, .n_lines = 1},
    {.mapping = 1, .address = 0x10, .lines = &line_g, .n_lines = 1}, /* another library there */
};

static struct pprof_sample samples[2][SAMPLES_MAX];
static int64_t values[2][SAMPLES_MAX][TYPES];
static uint32_t stacks[2][SAMPLES_MAX][2];
static struct pprof_input inputs[2];

static void begin(int which, int64_t mono_ns)
{
    memset(samples[which], 0, sizeof samples[which]);
    inputs[which] = (struct pprof_input){
        .types = heap_types,
        .n_types = TYPES,
        .mono_ns = mono_ns,
        .functions = functions,
        .n_functions = 2,
        .locations = which ? after_locations : before_locations,
        .n_locations = which ? 3 : 2,
        .samples = samples[which],
    };
}

static struct pprof_sample *add(int which, uint32_t leaf, uint32_t caller, int64_t a, int64_t b,
                                int64_t c, int64_t d)
{
    const size_t i = inputs[which].n_samples++;
    const int64_t all[TYPES] = {a, b, c, d};

    memcpy(values[which][i], all, sizeof all);
    stacks[which][i][0] = leaf;
    stacks[which][i][1] = caller;
    samples[which][i] = (struct pprof_sample){
        .locations = stacks[which][i], .values = values[which][i], .n_locations = 2};
    return &samples[which][i];
}

static struct workspace make_work(size_t size)
{
    return (struct workspace){.base = calloc(1, size + 16), .size = size};
}

static int difference(void)
{
    struct delta delta;
    struct workspace before = make_work(delta_bytes(&inputs[0])),
                     after = make_work(delta_bytes(&inputs[1]));
    int err = delta_take(&delta, &inputs[0], &before);

    CHECK_INT(err, 0, "take");
    err = delta_subtract(&inputs[1], &delta, &after);
    free(before.base);
    free(after.base);
    return err;
}

static void check_values(size_t i, int64_t a, int64_t b, int64_t c, int64_t d, const char *what)
{
    const int64_t want[TYPES] = {a, b, c, d};

    for (size_t k = 0; k < TYPES; k++)
        CHECK_INT(values[1][i][k], want[k], what);
}

TEST(a_stack_is_found_again_under_other_numbers)
{
    begin(0, 1000);
    add(0, 1, 2, 10, 1000, 4, 400);
    begin(1, 3500);
    add(1, 2, 1, 15, 1500, 6, 600);
    CHECK_INT(difference(), 0, "difference");
    check_values(0, 5, 500, 6, 600, "in use is that of the end");
    CHECK_INT(inputs[1].duration_ns, 2500, "duration");
}

TEST(another_function_at_the_same_address_is_another_stack)
{
    begin(0, 0);
    add(0, 1, 2, 10, 1000, 0, 0);
    begin(1, 1);
    add(1, 3, 1, 7, 700, 0, 0);
    CHECK_INT(difference(), 0, "difference");
    check_values(0, 7, 700, 0, 0, "new");
}

TEST(the_order_of_frames_and_the_labels_tell_stacks_apart)
{
    static const struct pprof_label small = {.key = "bytes", .number = 16, .unit = "bytes"},
                                    large = {.key = "bytes", .number = 32, .unit = "bytes"},
                                    text = {.key = "bytes", .text = "16"};

    begin(0, 0);
    add(0, 1, 2, 1, 1, 0, 0);
    begin(1, 1);
    add(1, 1, 2, 5, 5, 0, 0); /* g called by f, where f was called by g */
    struct pprof_sample *labelled = add(1, 2, 1, 6, 6, 0, 0);
    labelled->labels = &small;
    labelled->n_labels = 1;
    CHECK_INT(difference(), 0, "difference");
    check_values(0, 5, 5, 0, 0, "another order");
    check_values(1, 6, 6, 0, 0, "with a label");

    begin(0, 0);
    labelled = add(0, 1, 2, 1, 1, 0, 0);
    labelled->labels = &small;
    labelled->n_labels = 1;
    begin(1, 1);
    const struct pprof_label *const all[] = {&small, &large, &text};
    for (int i = 0; i < 3; i++) {
        labelled = add(1, 2, 1, 5, 5, 0, 0);
        labelled->labels = all[i];
        labelled->n_labels = 1;
    }
    CHECK_INT(difference(), 0, "difference");
    check_values(0, 4, 4, 0, 0, "the same label");
    check_values(1, 5, 5, 0, 0, "another number");
    check_values(2, 5, 5, 0, 0, "a text");
}

TEST(an_age_tells_nothing_apart)
{
    static const struct pprof_label young = {.key = "age", .number = 1, .unit = "seconds"},
                                    old = {.key = "age", .number = 9, .unit = "seconds"};

    begin(0, 0);
    struct pprof_sample *labelled = add(0, 1, 2, 1, 1, 0, 0);
    labelled->labels = &young;
    labelled->n_labels = 1;
    begin(1, 1);
    labelled = add(1, 2, 1, 5, 5, 0, 0);
    labelled->labels = &old;
    labelled->n_labels = 1;
    CHECK_INT(difference(), 0, "difference");
    check_values(0, 4, 4, 0, 0, "the same one, later");
}

TEST(nothing_is_negative_and_what_did_not_change_is_zero)
{
    begin(0, 5);
    add(0, 1, 2, 10, 1000, 10, 1000);
    begin(1, 4); /* no clock does that */
    add(1, 2, 1, 8, 1000, 0, 0);
    CHECK_INT(difference(), 0, "difference");
    check_values(0, 0, 0, 0, 0, "less than before");
    CHECK_INT(inputs[1].duration_ns, 1, "duration");
}

TEST(samples_that_look_alike_are_summed)
{
    begin(0, 0);
    add(0, 1, 2, 1, 10, 0, 0);
    add(0, 1, 2, 2, 20, 0, 0);
    begin(1, 1);
    add(1, 2, 1, 10, 100, 0, 0);
    CHECK_INT(difference(), 0, "difference");
    check_values(0, 7, 70, 0, 0, "both are taken off");
}

TEST(an_empty_start_takes_nothing_off)
{
    begin(0, 0);
    begin(1, 1);
    add(1, 2, 1, 10, 100, 1, 10);
    CHECK_INT(difference(), 0, "difference");
    check_values(0, 10, 100, 1, 10, "all of it");
}

TEST(another_profile_and_too_little_memory_are_errors)
{
    struct delta delta;
    struct workspace little = make_work(16);

    begin(0, 0);
    add(0, 1, 2, 1, 10, 0, 0);
    CHECK_INT(delta_take(&delta, &inputs[0], &little), -ENOMEM, "take");
    begin(1, 1);
    inputs[1].n_types = 2;
    add(1, 2, 1, 10, 100, 0, 0);
    CHECK_INT(difference(), -EINVAL, "other types");
    free(little.base);
}
