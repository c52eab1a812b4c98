/* profile - a pprof file as plain tables in memory.
 *
 * Reads what any producer writes: gzipped or not, several gzip members, concatenated Profile
 * messages, packed or unpacked numbers, ids in any order. What the tables hold is checked:
 * every pointer is valid or NULL where noted, every text is a C string, every sample has one
 * value per type. A file that breaks a rule is refused as a whole, with the reason in words.
 *
 * The file is not trusted: sizes are bounded (PROFILE_FILE_MAX_BYTES packed and unpacked,
 * PROFILE_TABLES_MAX_BYTES of tables). Texts may contain control characters; see
 * verb_put_text(). */
#ifndef CPROF_CLI_PROFILE_H
#define CPROF_CLI_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROFILE_FILE_MAX_BYTES   ((size_t)1 << 30)
#define PROFILE_TABLES_MAX_BYTES ((size_t)2 << 30)

struct profile_type {
    const char *type, *unit; /* "inuse_space", "bytes" */
};

struct profile_mapping {
    uint64_t start, limit, file_offset;
    const char *file, *build_id; /* "" when unknown */
    bool has_functions, has_filenames, has_line_numbers, has_inline_frames;
};

struct profile_function {
    const char *name, *system_name, *filename; /* "" when unknown */
    int64_t start_line;                        /* 0: unknown */
};

struct profile_line {
    const struct profile_function *function;
    int64_t line; /* 0: unknown */
};

struct profile_location {
    const struct profile_mapping *mapping; /* or NULL */
    uint64_t address;
    const struct profile_line *lines; /* innermost first */
    size_t n_lines;                   /* 0: only the address is known */
};

struct profile_label {
    const char *key;
    const char *text; /* or NULL: then `number` */
    int64_t number;
    const char *unit; /* of `number`, or "" */
};

struct profile_sample {
    const struct profile_location **locations; /* leaf first */
    size_t n_locations;
    const int64_t *values; /* profile->n_types of them */
    const struct profile_label *labels;
    size_t n_labels;
};

struct profile {
    const struct profile_type *types; /* at least one */
    size_t n_types;
    size_t default_type; /* index: default_sample_type, else the last one */
    struct profile_type period_type;
    int64_t period;
    int64_t time_ns;     /* since the epoch; 0: unknown */
    int64_t duration_ns; /* 0: unknown */

    const struct profile_mapping *mappings; /* [0] is the main executable */
    size_t n_mappings;
    const struct profile_function *functions;
    size_t n_functions;
    const struct profile_location *locations;
    size_t n_locations;
    const struct profile_sample *samples;
    size_t n_samples;
    const char **comments;
    size_t n_comments;

    char error[160];      /* why it could not be read */
    struct piece *pieces; /* all memory of the tables */
    size_t left_bytes;    /* of PROFILE_TABLES_MAX_BYTES */
};

/* Both fill *profile: 0, or -errno with the reason in profile->error.  In any case
 * profile_done() takes the memory back. */
int profile_open(struct profile *profile, const char *path);
int profile_decode(struct profile *profile, const void *data, size_t size);

void profile_done(struct profile *profile);

#endif
