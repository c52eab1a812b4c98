/* delta - what happened between two snapshots of one profile.
 *
 * Of the earlier one only the sums are kept: a sample's stack and labels become a 128-bit number (two samples
 * get the same by chance once in 10^29 for a million of them), beside it its values.  The later one is then
 * changed in place: values that only grow become the difference; values of what is in use (inuse_*)
 * stay those of the end, as a difference of them could be negative and says nothing.  A sample that is
 * not there any more is not shown; one without a difference becomes all zero, which the encoder
 * leaves out.
 *
 * A label in seconds is an age and tells nothing apart.  A location is its address and its innermost function: what its number is differs between snapshots.
 *
 * Pure; memory is the caller's.  Signal-safe. */
#ifndef CPROF_ENCODER_DELTA_H
#define CPROF_ENCODER_DELTA_H

#include <stddef.h>
#include <stdint.h>

#include "base/workspace.h"
#include "encoder/pprof.h"

struct delta_sample {
    uint64_t key[2];
    int64_t values[PPROF_TYPES_MAX];
};

/* An earlier snapshot. */
struct delta {
    int64_t mono_ns;
    size_t n_types, n;
    struct delta_sample *samples;
    uint32_t *slots; /* power of two: hash of the key -> number + 1 */
    size_t mask;
};

/* What either of the two takes of a workspace. */
size_t delta_bytes(const struct pprof_input *input);

/* Remembers the sums of `input`. 0 or -ENOMEM. */
int delta_take(struct delta *ret_delta, const struct pprof_input *input,
               struct workspace *work);

/* Makes `input` what has happened since; its values must be writable. 0, -ENOMEM, -EINVAL: another profile. */
int delta_subtract(struct pprof_input *input, const struct delta *earlier,
                   struct workspace *work);

#endif
