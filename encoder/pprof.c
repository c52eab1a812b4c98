/* pprof - writes the Profile message entry by entry.
 *
 * Concatenated protobuf messages decode as one: repeated fields are appended.  So each sample,
 * mapping, location, function and text is packed as a Profile of its own with that one entry;
 * the bytes are those of one big message.  They collect in `chunk`, which goes through gzip
 * when it is full and has room for the largest entry behind its end:
 *
 *     entry -> protobuf_c_message_pack -> chunk -> gzip -> sink
 *
 * Texts get their numbers when the first entry uses them, so the string table comes late: then follows the
 * end, where several files of the same samples differ (default type, first comment).  All before it is
 * compressed once and goes to every sink.
 *
 * pprof_encode() first checks the whole input and takes all its memory: after the first byte
 * only the sink can fail.  The first error sticks in encoder.err and stops everything. */
#include "encoder/pprof.h"

#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "encoder/gzip.h"
#include "encoder/profile.pb-c.h"
#include "encoder/strings.h"

enum { CHUNK_BYTES = 16 << 10, LINE_POINTER_BYTES = sizeof(Perftools__Profiles__Line *) };

/* Upper bounds of packed sizes: a number takes at most 10 bytes, with its tag 11.  FIXED_BYTES
 * is more than the 8 values, 8 labels, tags and lengths of a sample, or a mapping. */
enum { NUMBER_BYTES = 10, LINE_BYTES = 4 * (NUMBER_BYTES + 1), FIXED_BYTES = 1024 };

/* The sink of what is common to all outputs. */
struct common {
    struct sink sink;
    struct pprof_output *outputs;
    size_t n;
};

struct encoder {
    struct common common;
    struct gzip gzip;
    struct strings strings;
    int err; /* 0 or the first -errno */

    /* Of the workspace, each large enough for every entry of the input. */
    uint8_t *chunk; /* CHUNK_BYTES and one entry */
    size_t n_chunk_bytes;
    uint64_t *ids; /* of one sample's locations */
    Perftools__Profiles__Line *lines, **line_list;
    char *text;
};

/* How large the input's largest entries are. */
struct needs {
    size_t n_texts; /* at most so many distinct ones */
    size_t longest_text_bytes;
    size_t n_sample_locations, n_location_lines;
    const char *seen[64]; /* hash of recent pointers */
};

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* A pointer met again needs no second number: label keys, units and file names repeat. */
static void need_text(struct needs *needs, const char *text)
{
    const char **seen = &needs->seen[((uintptr_t)text >> 3) % COUNT_OF(needs->seen)];

    if (!text || *seen == text)
        return;
    *seen = text;
    needs->n_texts++;
    needs->longest_text_bytes = max_size(needs->longest_text_bytes, strlen(text));
}

static void need_sample(struct needs *needs, const struct pprof_sample *sample)
{
    needs->n_sample_locations = max_size(needs->n_sample_locations, sample->n_locations);
    for (size_t i = 0; i < sample->n_labels; i++) {
        need_text(needs, sample->labels[i].key);
        need_text(needs, sample->labels[i].text);
        need_text(needs, sample->labels[i].unit);
    }
}

static struct needs needs_of(const struct pprof_input *input)
{
    struct needs needs = {0};

    for (size_t i = 0; i < input->n_types; i++) {
        need_text(&needs, input->types[i].type);
        need_text(&needs, input->types[i].unit);
    }
    need_text(&needs, input->period_type.type);
    need_text(&needs, input->period_type.unit);
    need_text(&needs, input->default_type);
    for (size_t i = 0; i < input->n_comments; i++)
        need_text(&needs, input->comments[i]);
    for (size_t i = 0; i < input->n_samples; i++)
        need_sample(&needs, &input->samples[i]);
    for (size_t i = 0; i < input->n_mappings; i++) {
        need_text(&needs, input->mappings[i].file);
        need_text(&needs, input->mappings[i].build_id);
    }
    for (size_t i = 0; i < input->n_locations; i++)
        needs.n_location_lines = max_size(needs.n_location_lines, input->locations[i].n_lines);
    for (size_t i = 0; i < input->n_functions; i++) {
        need_text(&needs, input->functions[i].name);
        need_text(&needs, input->functions[i].filename);
    }
    return needs;
}

static size_t text_bytes(const struct needs *needs)
{
    return UTF8_GROWTH * needs->longest_text_bytes + 1;
}

static size_t chunk_bytes(const struct needs *needs)
{
    return CHUNK_BYTES + FIXED_BYTES + needs->n_sample_locations * NUMBER_BYTES +
           needs->n_location_lines * LINE_BYTES + text_bytes(needs);
}

size_t pprof_workspace_bytes(const struct pprof_input *input)
{
    const struct needs needs = needs_of(input);
    const size_t alignment = 5 * 16; /* of the five pieces that encoder_init() takes itself */
    const struct encoder *e = NULL;

    return GZIP_WORKSPACE_BYTES + strings_workspace_bytes(needs.n_texts) + chunk_bytes(&needs) +
           needs.n_sample_locations * sizeof *e->ids +
           needs.n_location_lines * (sizeof *e->lines + LINE_POINTER_BYTES) +
           text_bytes(&needs) + alignment;
}

static bool types_valid(const struct pprof_input *input)
{
    if (input->n_types == 0 || input->n_types > PPROF_TYPES_MAX)
        return false;
    for (size_t i = 0; i < input->n_types; i++) {
        if (!input->types[i].type || !input->types[i].unit)
            return false;
    }
    return input->period_type.type && input->period_type.unit;
}

static bool sample_valid(const struct pprof_input *input, const struct pprof_sample *sample)
{
    if (sample->n_labels > PPROF_LABELS_MAX)
        return false;
    for (size_t i = 0; i < sample->n_labels; i++) {
        if (!sample->labels[i].key)
            return false;
    }
    for (size_t i = 0; i < sample->n_locations; i++) {
        if (sample->locations[i] == 0 || sample->locations[i] > input->n_locations)
            return false;
    }
    for (size_t i = 0; i < input->n_types; i++) {
        if (sample->values[i] < 0)
            return false;
    }
    return true;
}

static bool location_valid(const struct pprof_input *input,
                           const struct pprof_location *location)
{
    if (location->mapping > input->n_mappings)
        return false;
    for (size_t i = 0; i < location->n_lines; i++) {
        const uint32_t function = location->lines[i].function;
        if (function == 0 || function > input->n_functions)
            return false;
    }
    return true;
}

static bool input_valid(const struct pprof_input *input)
{
    bool valid = types_valid(input);

    for (size_t i = 0; valid && i < input->n_comments; i++)
        valid = input->comments[i];
    for (size_t i = 0; valid && i < input->n_samples; i++)
        valid = sample_valid(input, &input->samples[i]);
    for (size_t i = 0; valid && i < input->n_mappings; i++)
        valid = input->mappings[i].file;
    for (size_t i = 0; valid && i < input->n_locations; i++)
        valid = location_valid(input, &input->locations[i]);
    for (size_t i = 0; valid && i < input->n_functions; i++)
        valid = input->functions[i].name;
    return valid;
}

static void write_chunk(struct encoder *e)
{
    if (e->err == 0)
        e->err = sink_write(&e->gzip.sink, e->chunk, e->n_chunk_bytes);
    e->n_chunk_bytes = 0;
}

static void pack(struct encoder *e, const Perftools__Profiles__Profile *profile)
{
    e->n_chunk_bytes += protobuf_c_message_pack(&profile->base, e->chunk + e->n_chunk_bytes);
    if (e->n_chunk_bytes >= CHUNK_BYTES)
        write_chunk(e);
}

/* The table has room for every text of the input, see needs_of(). */
static int64_t number(struct encoder *e, const char *text)
{
    const int64_t number_or_err = strings_number(&e->strings, text);

    if (number_or_err < 0 && e->err == 0)
        e->err = (int)number_or_err;
    return number_or_err;
}

static void encode_type(struct encoder *e, const struct pprof_type *type)
{
    Perftools__Profiles__ValueType entry = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
    Perftools__Profiles__Profile profile = PERFTOOLS__PROFILES__PROFILE__INIT;

    entry.type = number(e, type->type);
    entry.unit = number(e, type->unit);
    profile.n_sample_type = 1;
    profile.sample_type = &(Perftools__Profiles__ValueType *){&entry};
    pack(e, &profile);
}

static void encode_header(struct encoder *e, const struct pprof_input *input,
                          const char *default_type)
{
    Perftools__Profiles__ValueType period_type = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
    Perftools__Profiles__Profile profile = PERFTOOLS__PROFILES__PROFILE__INIT;

    period_type.type = number(e, input->period_type.type);
    period_type.unit = number(e, input->period_type.unit);
    profile.period_type = &period_type;
    profile.period = input->period;
    profile.default_sample_type = number(e, default_type);
    profile.time_nanos = input->time_ns;
    profile.duration_nanos = input->duration_ns;
    pack(e, &profile);
}

static void encode_comment(struct encoder *e, int64_t text)
{
    Perftools__Profiles__Profile profile = PERFTOOLS__PROFILES__PROFILE__INIT;

    profile.n_comment = 1;
    profile.comment = &text;
    pack(e, &profile);
}

static void fill_label(struct encoder *e, Perftools__Profiles__Label *entry,
                       const struct pprof_label *label)
{
    perftools__profiles__label__init(entry);
    entry->key = number(e, label->key);
    if (label->text) {
        entry->str = number(e, label->text);
    } else {
        entry->num = label->number;
        entry->num_unit = number(e, label->unit);
    }
}

/* A sample of which nothing is left (everything freed) says nothing and is left out. */
static void encode_sample(struct encoder *e, const struct pprof_sample *sample, size_t n_types)
{
    Perftools__Profiles__Label labels[PPROF_LABELS_MAX], *label_list[PPROF_LABELS_MAX];
    Perftools__Profiles__Sample entry = PERFTOOLS__PROFILES__SAMPLE__INIT;
    Perftools__Profiles__Profile profile = PERFTOOLS__PROFILES__PROFILE__INIT;
    int64_t values[PPROF_TYPES_MAX];
    int64_t any = 0;

    for (size_t i = 0; i < n_types; i++) {
        values[i] = sample->values[i];
        any |= values[i];
    }
    if (any == 0)
        return;
    for (size_t i = 0; i < sample->n_locations; i++)
        e->ids[i] = sample->locations[i];
    for (size_t i = 0; i < sample->n_labels; i++) {
        fill_label(e, &labels[i], &sample->labels[i]);
        label_list[i] = &labels[i];
    }
    entry.n_location_id = sample->n_locations;
    entry.location_id = e->ids;
    entry.n_value = n_types;
    entry.value = values;
    entry.n_label = sample->n_labels;
    entry.label = label_list;
    profile.n_sample = 1;
    profile.sample = &(Perftools__Profiles__Sample *){&entry};
    pack(e, &profile);
}

static void encode_mapping(struct encoder *e, const struct pprof_mapping *mapping, uint64_t id)
{
    Perftools__Profiles__Mapping entry = PERFTOOLS__PROFILES__MAPPING__INIT;
    Perftools__Profiles__Profile profile = PERFTOOLS__PROFILES__PROFILE__INIT;

    entry.id = id;
    entry.memory_start = mapping->start;
    entry.memory_limit = mapping->limit;
    entry.file_offset = mapping->file_offset;
    entry.filename = number(e, mapping->file);
    entry.build_id = number(e, mapping->build_id);
    entry.has_functions = mapping->has_functions;
    entry.has_filenames = mapping->has_filenames;
    entry.has_line_numbers = mapping->has_line_numbers;
    entry.has_inline_frames = mapping->has_inline_frames;
    profile.n_mapping = 1;
    profile.mapping = &(Perftools__Profiles__Mapping *){&entry};
    pack(e, &profile);
}

static void encode_location(struct encoder *e, const struct pprof_location *location,
                            uint64_t id)
{
    Perftools__Profiles__Location entry = PERFTOOLS__PROFILES__LOCATION__INIT;
    Perftools__Profiles__Profile profile = PERFTOOLS__PROFILES__PROFILE__INIT;

    for (size_t i = 0; i < location->n_lines; i++) {
        perftools__profiles__line__init(&e->lines[i]);
        e->lines[i].function_id = location->lines[i].function;
        e->lines[i].line = location->lines[i].line;
        e->line_list[i] = &e->lines[i];
    }
    entry.id = id;
    entry.mapping_id = location->mapping;
    entry.address = location->address;
    entry.n_line = location->n_lines;
    entry.line = e->line_list;
    profile.n_location = 1;
    profile.location = &(Perftools__Profiles__Location *){&entry};
    pack(e, &profile);
}

static void encode_function(struct encoder *e, const struct pprof_function *function,
                            uint64_t id)
{
    Perftools__Profiles__Function entry = PERFTOOLS__PROFILES__FUNCTION__INIT;
    Perftools__Profiles__Profile profile = PERFTOOLS__PROFILES__PROFILE__INIT;

    entry.id = id;
    entry.name = number(e, function->name);
    entry.system_name = entry.name;
    entry.filename = number(e, function->filename);
    entry.start_line = function->start_line;
    profile.n_function = 1;
    profile.function = &(Perftools__Profiles__Function *){&entry};
    pack(e, &profile);
}

static void encode_text(struct encoder *e, const char *text)
{
    Perftools__Profiles__Profile profile = PERFTOOLS__PROFILES__PROFILE__INIT;

    utf8_copy(e->text, text);
    profile.n_string_table = 1;
    profile.string_table = &e->text;
    pack(e, &profile);
}

/* Those of the end too: it gives out none. */
static void number_texts(struct encoder *e, const struct pprof_input *input)
{
    number(e, input->period_type.type);
    number(e, input->period_type.unit);
    for (size_t i = 0; i < e->common.n; i++)
        number(e, e->common.outputs[i].default_type);
    for (size_t i = 0; i < input->n_comments; i++)
        number(e, input->comments[i]);
}

static void encode_common(struct encoder *e, const struct pprof_input *input)
{
    for (size_t i = 0; i < input->n_types; i++)
        encode_type(e, &input->types[i]);
    for (size_t i = 0; i < input->n_samples && e->err == 0; i++)
        encode_sample(e, &input->samples[i], input->n_types);
    for (size_t i = 0; i < input->n_mappings && e->err == 0; i++)
        encode_mapping(e, &input->mappings[i], i + 1);
    for (size_t i = 0; i < input->n_locations && e->err == 0; i++)
        encode_location(e, &input->locations[i], i + 1);
    for (size_t i = 0; i < input->n_functions && e->err == 0; i++)
        encode_function(e, &input->functions[i], i + 1);
    number_texts(e, input);
    for (size_t i = 0; i < e->strings.n_texts && e->err == 0; i++)
        encode_text(e, e->strings.texts[i]);
    write_chunk(e);
}

/* A comment of the output's own is the text after all others. */
static void encode_end(struct encoder *e, const struct pprof_input *input,
                       const struct pprof_output *output)
{
    encode_header(e, input, output->default_type);
    for (size_t i = 0; i < input->n_comments && e->err == 0; i++)
        encode_comment(e, i == 0 && output->comment ? e->strings.n_texts
                                                    : number(e, input->comments[i]));
    if (input->n_comments && output->comment)
        encode_text(e, output->comment);
    write_chunk(e);
    if (e->err == 0)
        e->err = gzip_finish(&e->gzip);
}

static void encode_each(struct encoder *e, const struct pprof_input *input)
{
    struct gzip_check check;

    encode_common(e, input);
    if (e->err == 0)
        e->err = gzip_split(&e->gzip, &check);
    for (size_t i = 0; i < e->common.n; i++) {
        struct pprof_output *output = &e->common.outputs[i];
        if (output->err == 0)
            output->err = e->err;
        if (output->err == 0) {
            gzip_go_on(&e->gzip, &check, output->sink);
            encode_end(e, input, output);
            output->err = e->err;
            e->err = 0;
        }
    }
}

/* Fails only when there is nobody left to write to. */
static int common_write(struct sink *sink, const void *data, size_t size)
{
    const struct common *common = (struct common *)sink;
    int err = 0;
    bool any = false;

    for (size_t i = 0; i < common->n; i++) {
        struct pprof_output *output = &common->outputs[i];
        if (output->err == 0)
            output->err = sink_write(output->sink, data, size);
        any |= output->err == 0;
        err = output->err;
    }
    return any ? 0 : err;
}

static int encoder_init(struct encoder *e, const struct pprof_input *input,
                        struct pprof_output *outputs, size_t n, struct workspace *work)
{
    const struct needs needs = needs_of(input);
    int err;

    for (size_t i = 0; i < n; i++)
        if (outputs[i].comment && strlen(outputs[i].comment) > needs.longest_text_bytes)
            return -EINVAL;
    *e = (struct encoder){
        .common = {.sink.write = common_write, .outputs = outputs, .n = n},
        .ids = workspace_take_array(work, needs.n_sample_locations, sizeof *e->ids),
        .lines = workspace_take_array(work, needs.n_location_lines, sizeof *e->lines),
        .line_list = workspace_take_array(work, needs.n_location_lines, LINE_POINTER_BYTES),
        .text = workspace_take(work, text_bytes(&needs)),
    };
    if (!e->ids || !e->lines || !e->line_list || !e->text)
        return -ENOMEM;
    err = strings_init(&e->strings, needs.n_texts, work);
    if (err == 0)
        err = gzip_init(&e->gzip, &e->common.sink, work);
    if (err < 0)
        return err;
    /* Last, so that ASan would see an entry larger than chunk_bytes() says. */
    e->chunk = workspace_take(work, chunk_bytes(&needs));
    return e->chunk ? 0 : -ENOMEM;
}

int pprof_encode_each(const struct pprof_input *input, struct pprof_output *outputs, size_t n,
                      struct workspace *work)
{
    struct encoder e;

    int err = input_valid(input) ? encoder_init(&e, input, outputs, n, work) : -EINVAL;
    for (size_t i = 0; i < n; i++)
        outputs[i].err = err;
    if (err == 0)
        encode_each(&e, input);
    return err;
}

int pprof_encode(const struct pprof_input *input, struct sink *sink, struct workspace *work)
{
    struct pprof_output output = {.sink = sink, .default_type = input->default_type};

    pprof_encode_each(input, &output, 1, work);
    return output.err;
}
