/* profile - reads a file, unpacks gzip, lets protobuf-c decode, then turns ids and string
 * numbers into checked pointers.
 *
 * Memory: protobuf-c and the tables take pieces from one list with a limit; nothing is given
 * back before profile_done(), so no error path has anything to clean up.
 *
 * Errors: functions of struct tables note the first one and go on with something harmless; the
 * end looks at it once. */
#include "cli/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

#include "base/compiler.h"
#include "encoder/profile.pb-c.h"

#if !defined(__clang__)
#pragma GCC diagnostic ignored \
    "-Wanalyzer-malloc-leak" /* it loses sight: pieces are on a list */
#endif

typedef Perftools__Profiles__Profile Message;

static int PRINTF(3, 4) refuse(struct profile *profile, int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(profile->error, sizeof profile->error, format, args);
    va_end(args);
    return err;
}

/* ---- memory ---- */

struct piece {
    struct piece *next;
    max_align_t data[];
};

/* `size` zeroed bytes that live as long as the profile; NULL over the limit, then nothing is
 * left. */
static void *take(struct profile *profile, size_t size)
{
    struct piece *piece = NULL;

    if (size <= profile->left_bytes && profile->left_bytes - size >= sizeof *piece)
        piece = calloc(1, sizeof *piece + size);
    if (!piece) {
        profile->left_bytes = 0;
        return NULL;
    }
    profile->left_bytes -= sizeof *piece + size;
    piece->next = profile->pieces;
    profile->pieces = piece;
    return piece->data;
}

static int COLD refuse_size(struct profile *profile)
{
    return refuse(profile, -ENOMEM, "needs more memory than there is, or than %zu MiB",
                  PROFILE_TABLES_MAX_BYTES >> 20);
}

static void *protobuf_alloc(void *profile, size_t size)
{
    return take(profile, size);
}

static void protobuf_free(void *profile, void *data)
{
    (void)profile, (void)data;
}

/* ---- bytes: the file, packed and unpacked ---- */

struct bytes {
    unsigned char *data;
    size_t size, capacity;
};

/* Makes room for at least one more byte. */
static int bytes_grow(struct profile *profile, struct bytes *bytes)
{
    if (bytes->size < bytes->capacity)
        return 0;
    if (bytes->capacity == PROFILE_FILE_MAX_BYTES)
        return refuse(profile, -EFBIG, "too large: more than %zu MiB of profile",
                      PROFILE_FILE_MAX_BYTES >> 20);
    const size_t capacity = bytes->capacity ? bytes->capacity * 2 : (size_t)64 << 10;
    unsigned char *data = realloc(bytes->data, capacity);
    if (!data)
        return refuse(profile, -ENOMEM, "%s", strerror(ENOMEM));
    bytes->data = data;
    bytes->capacity = capacity;
    return 0;
}

static int read_fd(struct profile *profile, int fd, struct bytes *file)
{
    for (;;) {
        int err = bytes_grow(profile, file);
        if (err < 0)
            return err;
        const ssize_t n = read(fd, file->data + file->size, file->capacity - file->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse(profile, -errno, "%s", strerror(errno));
        if (n == 0)
            return 0;
        file->size += (size_t)n;
    }
}

static int inflate_all(struct profile *profile, z_stream *z, struct bytes *plain)
{
    for (;;) {
        int err = bytes_grow(profile, plain);
        if (err < 0)
            return err;
        z->next_out = plain->data + plain->size;
        z->avail_out = (uInt)(plain->capacity - plain->size);
        const int result = inflate(z, Z_NO_FLUSH);
        plain->size = plain->capacity - z->avail_out;
        if (result == Z_STREAM_END && z->avail_in == 0)
            return 0;
        if (result == Z_STREAM_END)
            inflateReset(z); /* the next member */
        else if (result == Z_BUF_ERROR)
            return refuse(profile, -EPROTO, "truncated: the gzip data ends too early");
        else if (result == Z_MEM_ERROR)
            return refuse(profile, -ENOMEM, "%s", strerror(ENOMEM));
        else if (result != Z_OK)
            return refuse(profile, -EPROTO, "corrupt gzip data (%s)",
                          z->msg ? z->msg : "needs a dictionary");
    }
}

static int gunzip(struct profile *profile, const void *data, size_t size, struct bytes *plain)
{
    const int gzip_only = 16 + MAX_WBITS;
    z_stream z = {.next_in = data, .avail_in = (uInt)size};

    if (inflateInit2(&z, gzip_only) != Z_OK)
        return refuse(profile, -ENOMEM, "%s", strerror(ENOMEM));
    const int err = inflate_all(profile, &z, plain);
    inflateEnd(&z);
    return err;
}

/* ---- tables ---- */

/* Ids are the producer's: mostly 1..N in order, but only uniqueness is promised. */
struct id {
    uint64_t id;
    size_t index;
};

struct ids {
    struct id *sorted;
    size_t n;
};

struct tables {
    struct profile *profile;
    const Message *message;
    struct ids mappings, functions, locations;
    int err; /* the first one */
};

static int PRINTF(2, 3) broken(struct tables *t, const char *format, ...)
{
    if (t->err == 0) {
        va_list args;

        va_start(args, format);
        vsnprintf(t->profile->error, sizeof t->profile->error, format, args);
        va_end(args);
        t->err = -EPROTO;
    }
    return t->err;
}

/* Zeroed `n` elements, at least one, or NULL and the error is noted. */
static void *take_array(struct tables *t, size_t n, size_t size)
{
    size_t bytes;
    void *array = NULL;

    if (!__builtin_mul_overflow(n ? n : 1, size, &bytes))
        array = take(t->profile, bytes);
    if (!array && t->err == 0)
        t->err = refuse_size(t->profile);
    return array;
}

static const char *text(struct tables *t, int64_t number)
{
    if (number == 0)
        return "";
    if (number < 0 || (uint64_t)number >= t->message->n_string_table) {
        broken(t, "string %" PRId64 " of %zu is used", number, t->message->n_string_table);
        return "";
    }
    return t->message->string_table[number];
}

static int compare_ids(const void *a, const void *b)
{
    const struct id *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static bool ids_start(struct tables *t, struct ids *ids, size_t n)
{
    ids->sorted = take_array(t, n, sizeof *ids->sorted);
    return ids->sorted != NULL;
}

static void ids_put(struct ids *ids, uint64_t id)
{
    ids->sorted[ids->n] = (struct id){.id = id, .index = ids->n};
    ids->n++;
}

static void ids_finish(struct tables *t, struct ids *ids, const char *kind)
{
    bool in_order = true;

    for (size_t i = 1; i < ids->n && in_order; i++)
        in_order = ids->sorted[i - 1].id < ids->sorted[i].id;
    if (!in_order)
        qsort(ids->sorted, ids->n, sizeof *ids->sorted, compare_ids);
    if (ids->n && ids->sorted[0].id == 0)
        broken(t, "a %s has the id 0", kind);
    for (size_t i = 1; i < ids->n; i++)
        if (ids->sorted[i].id == ids->sorted[i - 1].id)
            broken(t, "two %ss have the id %" PRIu64, kind, ids->sorted[i].id);
}

/* The index of the entry `id`; 0 and the error is noted when there is none. */
static size_t ids_find(struct tables *t, const struct ids *ids, uint64_t id, const char *kind)
{
    if (id - 1 < ids->n && ids->sorted[id - 1].id == id)
        return ids->sorted[id - 1].index;
    const struct id key = {.id = id};
    const struct id *found = bsearch(&key, ids->sorted, ids->n, sizeof key, compare_ids);
    if (!found)
        broken(t, "%s %" PRIu64 " is used, but not there", kind, id);
    return found ? found->index : 0;
}

static struct profile_type type(struct tables *t, const Perftools__Profiles__ValueType *from)
{
    if (!from)
        return (struct profile_type){"", ""};
    return (struct profile_type){.type = text(t, from->type), .unit = text(t, from->unit)};
}

static void make_types(struct tables *t)
{
    const Message *m = t->message;
    struct profile_type *types = take_array(t, m->n_sample_type, sizeof *types);

    if (m->n_sample_type == 0)
        broken(t, "not a pprof profile: it names no sample type");
    if (t->err < 0)
        return;
    const char *wanted = text(t, m->default_sample_type);
    t->profile->types = types;
    t->profile->n_types = m->n_sample_type;
    t->profile->default_type = m->n_sample_type - 1;
    for (size_t i = m->n_sample_type; i-- > 0;) {
        types[i] = type(t, m->sample_type[i]);
        if (!strcmp(types[i].type, wanted))
            t->profile->default_type = i;
    }
}

static void make_mappings(struct tables *t)
{
    const Message *m = t->message;
    struct profile_mapping *mappings = take_array(t, m->n_mapping, sizeof *mappings);

    if (!mappings || !ids_start(t, &t->mappings, m->n_mapping))
        return;
    for (size_t i = 0; i < m->n_mapping; i++) {
        const Perftools__Profiles__Mapping *from = m->mapping[i];
        mappings[i] = (struct profile_mapping){
            .start = from->memory_start,
            .limit = from->memory_limit,
            .file_offset = from->file_offset,
            .file = text(t, from->filename),
            .build_id = text(t, from->build_id),
            .has_functions = from->has_functions,
            .has_filenames = from->has_filenames,
            .has_line_numbers = from->has_line_numbers,
            .has_inline_frames = from->has_inline_frames,
        };
        ids_put(&t->mappings, from->id);
    }
    t->profile->mappings = mappings;
    t->profile->n_mappings = m->n_mapping;
    ids_finish(t, &t->mappings, "mapping");
}

static void make_functions(struct tables *t)
{
    const Message *m = t->message;
    struct profile_function *functions = take_array(t, m->n_function, sizeof *functions);

    if (!functions || !ids_start(t, &t->functions, m->n_function))
        return;
    for (size_t i = 0; i < m->n_function; i++) {
        const Perftools__Profiles__Function *from = m->function[i];
        functions[i] = (struct profile_function){
            .name = text(t, from->name),
            .system_name = text(t, from->system_name),
            .filename = text(t, from->filename),
            .start_line = from->start_line,
        };
        ids_put(&t->functions, from->id);
    }
    t->profile->functions = functions;
    t->profile->n_functions = m->n_function;
    ids_finish(t, &t->functions, "function");
}

static void make_lines(struct tables *t, const Perftools__Profiles__Location *from,
                       struct profile_location *location)
{
    struct profile_line *lines =
        from->n_line ? take_array(t, from->n_line, sizeof *lines) : NULL;

    for (size_t i = 0; lines && i < from->n_line; i++) {
        const Perftools__Profiles__Line *line = from->line[i];
        const size_t index = ids_find(t, &t->functions, line->function_id, "function");
        lines[i] = (struct profile_line){
            .function = &t->profile->functions[index],
            .line = line->line,
        };
    }
    location->lines = lines;
    location->n_lines = lines ? from->n_line : 0;
}

static void make_locations(struct tables *t)
{
    const Message *m = t->message;
    struct profile_location *locations = take_array(t, m->n_location, sizeof *locations);

    if (!locations || !ids_start(t, &t->locations, m->n_location))
        return;
    for (size_t i = 0; i < m->n_location && t->err == 0; i++) {
        const Perftools__Profiles__Location *from = m->location[i];
        locations[i].address = from->address;
        if (from->mapping_id)
            locations[i].mapping =
                &t->profile->mappings[ids_find(t, &t->mappings, from->mapping_id, "mapping")];
        make_lines(t, from, &locations[i]);
        ids_put(&t->locations, from->id);
    }
    t->profile->locations = locations;
    t->profile->n_locations = m->n_location;
    ids_finish(t, &t->locations, "location");
}

static void make_labels(struct tables *t, const Perftools__Profiles__Sample *from,
                        struct profile_sample *sample)
{
    struct profile_label *labels = take_array(t, from->n_label, sizeof *labels);

    for (size_t i = 0; labels && i < from->n_label; i++) {
        const Perftools__Profiles__Label *label = from->label[i];
        labels[i] = (struct profile_label){
            .key = text(t, label->key),
            .text = label->str ? text(t, label->str) : NULL,
            .number = label->num,
            .unit = text(t, label->num_unit),
        };
    }
    sample->labels = labels;
    sample->n_labels = labels ? from->n_label : 0;
}

static void make_sample(struct tables *t, size_t i, struct profile_sample *sample)
{
    const Perftools__Profiles__Sample *from = t->message->sample[i];

    if (from->n_value != t->profile->n_types) {
        broken(t, "sample %zu has %zu values, but there are %zu sample types", i + 1,
               from->n_value, t->profile->n_types);
        return;
    }
    sample->values = from->value;
    sample->locations = take_array(t, from->n_location_id, sizeof(void *));
    if (!sample->locations)
        return;
    for (size_t k = 0; k < from->n_location_id; k++) {
        const size_t index = ids_find(t, &t->locations, from->location_id[k], "location");
        sample->locations[k] = &t->profile->locations[index];
    }
    sample->n_locations = from->n_location_id;
    if (from->n_label)
        make_labels(t, from, sample);
}

static void make_samples(struct tables *t)
{
    struct profile_sample *samples = take_array(t, t->message->n_sample, sizeof *samples);

    for (size_t i = 0; samples && i < t->message->n_sample && t->err == 0; i++)
        make_sample(t, i, &samples[i]);
    t->profile->samples = samples;
    t->profile->n_samples = t->message->n_sample;
}

static void make_comments(struct tables *t)
{
    const char **comments = take_array(t, t->message->n_comment, sizeof *comments);

    for (size_t i = 0; comments && i < t->message->n_comment; i++)
        comments[i] = text(t, t->message->comment[i]);
    t->profile->comments = comments;
    t->profile->n_comments = t->message->n_comment;
}

static int make_tables(struct profile *profile, const Message *message)
{
    static void (*const steps[])(struct tables *) = {
        make_types, make_mappings, make_functions, make_locations, make_samples, make_comments,
    };
    struct tables tables = {.profile = profile, .message = message};

    for (size_t i = 0; i < COUNT_OF(steps) && tables.err == 0; i++)
        steps[i](&tables);
    profile->period_type = type(&tables, message->period_type);
    profile->period = message->period;
    profile->time_ns = message->time_nanos;
    profile->duration_ns = message->duration_nanos;
    return tables.err;
}

/* ---- the whole ---- */

/* No message of this format begins with this many printable characters. */
static bool is_printable(const unsigned char *data, size_t size)
{
    const size_t n = size < 64 ? size : 64;

    for (size_t i = 0; i < n; i++)
        if ((data[i] < ' ' || data[i] > '~') && data[i] != '\n' && data[i] != '\t')
            return false;
    return true;
}

static int decode_message(struct profile *profile, const unsigned char *data, size_t size)
{
    ProtobufCAllocator allocator = {protobuf_alloc, protobuf_free, profile};

    if (!data || size == 0)
        return refuse(profile, -EPROTO, "empty");
    if (is_printable(data, size))
        return refuse(profile, -EPROTO, "text, not a pprof profile");
    const Message *message = perftools__profiles__profile__unpack(&allocator, size, data);
    if (!message && profile->left_bytes == 0)
        return refuse_size(profile);
    if (!message)
        return refuse(profile, -EPROTO, "not a pprof profile, or a truncated or damaged one");
    return make_tables(profile, message);
}

int profile_decode(struct profile *profile, const void *data, size_t size)
{
    const unsigned char *head = data;
    struct bytes plain = {0};

    *profile = (struct profile){.left_bytes = PROFILE_TABLES_MAX_BYTES};
    if (size < 2 || head[0] != 0x1f || head[1] != 0x8b)
        return decode_message(profile, data, size);
    int err = gunzip(profile, data, size, &plain);
    if (err == 0)
        err = decode_message(profile, plain.data, plain.size);
    free(plain.data);
    return err;
}

int profile_open(struct profile *profile, const char *path)
{
    struct bytes file = {0};

    *profile = (struct profile){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refuse(profile, -errno, "%s", strerror(errno));
    int err = read_fd(profile, fd, &file);
    if (err == 0)
        err = profile_decode(profile, file.data, file.size);
    close(fd);
    free(file.data);
    return err;
}

void profile_done(struct profile *profile)
{
    while (profile->pieces) {
        struct piece *piece = profile->pieces;
        profile->pieces = piece->next;
        free(piece);
    }
}
