/* pprof - one frozen profile in, a gzipped pprof file out.
 *
 * struct pprof_input is plain data, completely resolved by the caller: ids are positions in the
 * tables plus one, 0 means none.  pprof_encode() numbers the strings, packs one entry after
 * the other with protobuf-c (concatenated Profile messages decode as one message, so memory
 * stays bounded) and streams them through gzip level 1 into the sink.
 *
 * What the encoder guarantees: ids 1..N in table order, every index in range, valid UTF-8,
 * system_name == name, no all-zero sample (left out), no negative value (refused).  What only
 * the caller can know: stacks are leaf first, samples and locations are distinct, addresses
 * lie in their mappings.
 *
 * Pure: no globals, no locks, no malloc; all memory comes from the workspace.  Signal-safe.
 * Format: google/pprof proto/profile.proto. */
#ifndef CPROF_ENCODER_PPROF_H
#define CPROF_ENCODER_PPROF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sink.h"
#include "base/workspace.h"

enum { PPROF_TYPES_MAX = 8, PPROF_LABELS_MAX = 8 };

struct pprof_type {
    const char *type, *unit; /* "inuse_space", "bytes" */
};

struct pprof_mapping {
    uint64_t start, limit, file_offset;
    const char *file;     /* never NULL */
    const char *build_id; /* hex, or NULL */
    bool has_functions, has_filenames, has_line_numbers, has_inline_frames;
};

struct pprof_function {
    const char *name;     /* mangled; also the system_name */
    const char *filename; /* or NULL */
    int64_t start_line;   /* 0: unknown */
};

struct pprof_line {
    uint32_t function; /* id */
    int64_t line;      /* 0: unknown */
};

struct pprof_location {
    uint32_t mapping;               /* id; 0 for pseudo frames */
    uint64_t address;               /* 0 for pseudo frames */
    const struct pprof_line *lines; /* innermost first */
    uint32_t n_lines;
    uint64_t offset; /* from the start of its function, for legacy.h; or: */
};
#define PPROF_NO_OFFSET UINT64_MAX /* not known, or in the name already */

struct pprof_label {
    const char *key;
    const char *text; /* a text label, or NULL: then `number` */
    int64_t number;
    const char *unit; /* of `number`, or NULL */
};

struct pprof_sample {
    const uint32_t *locations; /* ids, leaf first */
    const int64_t *values;     /* n_types of them */
    const struct pprof_label *labels;
    uint32_t n_locations;
    uint32_t n_labels;
};

struct pprof_input {
    const struct pprof_type *types;
    size_t n_types;
    struct pprof_type period_type;
    int64_t period;
    const char *default_type; /* or NULL */
    int64_t time_ns;          /* since the epoch */
    int64_t duration_ns;      /* 0: not set */
    int64_t
        mono_ns; /* its moment on a clock that nobody sets: durations (delta.h); not written */

    const struct pprof_mapping *mappings; /* [0] is the main executable */
    size_t n_mappings;
    const struct pprof_function *functions;
    size_t n_functions;
    const struct pprof_location *locations;
    size_t n_locations;
    const struct pprof_sample *samples;
    size_t n_samples;
    const char *const *comments;
    size_t n_comments;
};

/* An upper bound of the workspace that pprof_encode() takes for `input`: about 330 KiB, plus
 * 14 bytes per text and three times the longest text.  Reads every string once. */
size_t pprof_workspace_bytes(const struct pprof_input *input);

/* One of several files with the same samples: where it goes and what it says of itself. */
struct pprof_output {
    struct sink *sink;
    const char *default_type; /* one of the input's texts, or NULL */
    const char *
        comment; /* in place of the input's first, not longer than its longest text; NULL: that one */
    int err; /* of the sink; pprof_encode_each() sets it */
};

/* Writes `input` as one gzip stream.  Bytes that are not valid UTF-8 become U+FFFD.
 * 0; -ENOMEM: the workspace is too small; -EINVAL: an id out of range, a string NULL that
 * must not be, no or too many types, too many labels, a negative value; or the sink's error,
 * which is the only one that leaves half a file: the others come before the first byte. */
int pprof_encode(const struct pprof_input *input, struct sink *sink, struct workspace *work);

/* The same into n outputs, for little more than the price of one: what they have in common is compressed once.
 * An output whose sink fails keeps its error and gets no more, the others go on; the errors of pprof_encode() that
 * come before the first byte are returned and are every output's. */
int pprof_encode_each(const struct pprof_input *input, struct pprof_output *outputs, size_t n,
                      struct workspace *work);

#endif
