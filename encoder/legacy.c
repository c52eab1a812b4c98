/* legacy - see legacy.h. */
#include "encoder/legacy.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

enum { BUFFER_BYTES = 16 << 10, PIECE_BYTES = 256, NO_TYPE = -1 };

struct out {
    const struct pprof_input *input;
    struct sink *sink;
    struct text text;
    int err;
};

/* ---- writing ---- */

static void flush(struct out *out)
{
    if (out->err == 0 && out->text.size)
        out->err = sink_write(out->sink, out->text.data, out->text.size);
    text_init(&out->text, out->text.data, out->text.capacity);
}

/* The text, with room for a short piece of a line. */
static struct text *room(struct out *out)
{
    if (out->text.capacity - out->text.size < PIECE_BYTES)
        flush(out);
    return &out->text;
}

/* Names may be long; a line break in one would be a record. */
static void put_name(struct out *out, const char *name)
{
    for (; *name; name++)
        text_add_char(room(out), *name == '\n' || *name == '\r' ? ' ' : *name);
}

/* ---- which values ---- */

static int find_type(const struct pprof_input *input, const char *type)
{
    for (size_t i = 0; i < input->n_types; i++)
        if (strcmp(input->types[i].type, type) == 0)
            return (int)i;
    return NO_TYPE;
}

static int64_t value_of(const struct pprof_sample *sample, int type)
{
    return type == NO_TYPE ? 0 : sample->values[type];
}

struct columns {
    int objects, bytes, alloc_objects, alloc_bytes; /* heap */
    int contentions, delay;                         /* contention */
    int by;                                         /* what it is sorted by */
};

static struct columns find_columns(const struct pprof_input *input)
{
    struct columns columns = {
        .objects = find_type(input, "inuse_objects"),
        .bytes = find_type(input, "inuse_space"),
        .alloc_objects = find_type(input, "alloc_objects"),
        .alloc_bytes = find_type(input, "alloc_space"),
        .contentions = find_type(input, "contentions"),
        .delay = find_type(input, "delay"),
    };

    if (columns.bytes != NO_TYPE)
        columns.by = columns.bytes;
    else if (columns.delay != NO_TYPE)
        columns.by = columns.delay;
    return columns;
}

/* Objects are rounded down; bytes in no object are refused by readers. */
static uint64_t objects_of(int64_t objects, int64_t bytes)
{
    return (uint64_t)(objects == 0 && bytes ? 1 : objects);
}

/* ---- the order: heap sort, the smallest at the root ---- */

static bool is_above(const struct pprof_input *input, int by, uint32_t a, uint32_t b)
{
    const int64_t x = input->samples[a].values[by], y = input->samples[b].values[by];

    return x != y ? x < y : a > b;
}

static void sift_down(const struct pprof_input *input, int by, uint32_t *order, size_t root,
                      size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && is_above(input, by, order[child + 1], order[child]))
            child++;
        if (!is_above(input, by, order[child], order[root]))
            return;
        const uint32_t moved = order[root];
        order[root] = order[child];
        order[child] = moved;
    }
}

static void sort(const struct pprof_input *input, int by, uint32_t *order)
{
    const size_t n = input->n_samples;

    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(input, by, order, i, n);
    for (size_t i = n; i-- > 1;) {
        const uint32_t smallest = order[0];
        order[0] = order[i];
        order[i] = smallest;
        sift_down(input, by, order, 0, i);
    }
}

/* ---- headers ---- */

static uint64_t sum(const struct pprof_input *input, int type)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < input->n_samples; i++)
        sum += (uint64_t)value_of(&input->samples[i], type);
    return sum;
}

static void put_header(struct out *out, const struct columns *columns, const char *name)
{
    const struct pprof_input *input = out->input;

    if (columns->bytes != NO_TYPE) {
        text_addf(room(out), "heap profile: %lu: %lu [%lu: %lu] @ heap/2\n",
                  sum(input, columns->objects), sum(input, columns->bytes),
                  sum(input, columns->alloc_objects), sum(input, columns->alloc_bytes));
    } else if (columns->delay != NO_TYPE) {
        text_add(room(out), "--- contention:\ncycles/second=1000000000\nsampling period=1\n");
    } else {
        put_name(out, name);
        text_addf(room(out), " profile: total %lu\n", sum(input, 0));
    }
}

/* ---- records ---- */

static void put_values(struct out *out, const struct columns *columns,
                       const struct pprof_sample *sample)
{
    if (columns->bytes != NO_TYPE) {
        const int64_t bytes = value_of(sample, columns->bytes);
        const int64_t alloc_bytes = value_of(sample, columns->alloc_bytes);
        text_addf(room(out), "%lu: %lu [%lu: %lu]",
                  objects_of(value_of(sample, columns->objects), bytes), (uint64_t)bytes,
                  objects_of(value_of(sample, columns->alloc_objects), alloc_bytes),
                  (uint64_t)alloc_bytes);
    } else if (columns->delay != NO_TYPE) {
        text_addf(room(out), "%lu %lu", (uint64_t)value_of(sample, columns->delay),
                  (uint64_t)value_of(sample, columns->contentions));
    } else {
        text_addf(room(out), "%lu", (uint64_t)sample->values[0]);
    }
}

static const struct pprof_location *location_of(const struct out *out,
                                                const struct pprof_sample *sample, uint32_t i)
{
    return &out->input->locations[sample->locations[i] - 1];
}

/* "#", address, name, file */
static void put_frame(struct out *out, const struct pprof_location *location)
{
    const struct pprof_input *input = out->input;

    text_addf(room(out), "#\t0x%lx\t", location->address + 1);
    if (location->n_lines)
        put_name(out, input->functions[location->lines[0].function - 1].name);
    if (location->n_lines && location->mapping && location->offset != PPROF_NO_OFFSET)
        text_addf(room(out), "+0x%lx", location->offset + 1);
    text_add_char(room(out), '\t');
    if (location->mapping)
        put_name(out, input->mappings[location->mapping - 1].file);
    text_add_char(room(out), '\n');
}

/* Of a profile of two values the grammar has no place for the second. */
static void put_rest(struct out *out, const struct columns *columns,
                     const struct pprof_sample *sample)
{
    const struct pprof_input *input = out->input;

    if (columns->bytes != NO_TYPE || columns->delay != NO_TYPE)
        return;
    for (size_t i = 1; i < input->n_types; i++)
        text_addf(room(out), "#\t%lu %s\n", (uint64_t)sample->values[i], input->types[i].unit);
}

static void put_record(struct out *out, const struct columns *columns,
                       const struct pprof_sample *sample)
{
    put_values(out, columns, sample);
    text_add(room(out), " @");
    for (uint32_t i = 0; i < sample->n_locations; i++)
        text_addf(room(out), " 0x%lx", location_of(out, sample, i)->address + 1);
    text_add_char(room(out), '\n');
    for (uint32_t i = 0; i < sample->n_locations; i++)
        put_frame(out, location_of(out, sample, i));
    put_rest(out, columns, sample);
    text_add_char(room(out), '\n');
}

/* ---- mappings ---- */

static void put_hex(struct text *text, uint64_t value)
{
    enum { DIGITS = 8 };

    for (uint64_t limit = (uint64_t)1 << (4 * (DIGITS - 1)); limit > 1 && value < limit;
         limit >>= 4)
        text_add_char(text, '0');
    text_add_hex(text, value);
}

/* As a line of /proc/self/maps. */
static void put_mapping(struct out *out, const struct pprof_mapping *mapping)
{
    struct text *text = room(out);

    put_hex(text, mapping->start);
    text_add_char(text, '-');
    put_hex(text, mapping->limit);
    text_add(text, " r-xp ");
    put_hex(text, mapping->file_offset);
    text_add(text, " 00:00 0 ");
    put_name(out, mapping->file);
    text_add_char(room(out), '\n');
}

/* ---- all ---- */

size_t legacy_workspace_bytes(const struct pprof_input *input)
{
    return BUFFER_BYTES + input->n_samples * sizeof(uint32_t) + 64;
}

int legacy_write(const struct pprof_input *input, const char *name, struct sink *sink,
                 struct workspace *work)
{
    const struct columns columns = find_columns(input);
    uint32_t *order = workspace_take_array(work, input->n_samples, sizeof *order);
    char *buffer = workspace_take(work, BUFFER_BYTES);
    struct out out = {.input = input, .sink = sink};

    if (!order || !buffer)
        return -ENOMEM;
    text_init(&out.text, buffer, BUFFER_BYTES);
    sort(input, columns.by, order);
    put_header(&out, &columns, name);
    for (size_t i = 0; i < input->n_samples && out.err == 0; i++)
        put_record(&out, &columns, &input->samples[order[i]]);
    text_add(room(&out), "\n--- Memory map: ---\n");
    for (size_t i = 0; i < input->n_mappings && out.err == 0; i++)
        put_mapping(&out, &input->mappings[i]);
    flush(&out);
    return out.err;
}
