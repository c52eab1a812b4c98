/* delta - see delta.h. */
#include "encoder/delta.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* ---- a number for a stack with its labels ---- */

struct hash {
    uint64_t a, b;
};

/* Two mixers of 64 bits with different constants (murmur3's and splitmix's). */
static void mix(struct hash *hash, uint64_t value)
{
    hash->a = (hash->a ^ value) * 0xff51afd7ed558ccd;
    hash->a ^= hash->a >> 33;
    hash->b = (hash->b + value) * 0xbf58476d1ce4e5b9;
    hash->b ^= hash->b >> 29;
}

static void mix_text(struct hash *hash, const char *text)
{
    for (; text && *text; text++)
        mix(hash, (unsigned char)*text);
    mix(hash, 256 + !text);
}

static struct hash hash_location(const struct pprof_input *input, uint32_t id)
{
    const struct pprof_location *location = &input->locations[id - 1];
    struct hash hash = {0x9e3779b97f4a7c15, 0x94d049bb133111eb};

    mix(&hash, location->address);
    mix_text(&hash,
             location->n_lines ? input->functions[location->lines[0].function - 1].name : NULL);
    return hash;
}

/* By number - 1: a location stands in many stacks, and its name is long. NULL: no memory. */
static struct hash *hash_locations(const struct pprof_input *input, struct workspace *work)
{
    struct hash *hashes = workspace_take_array(work, input->n_locations, sizeof *hashes);

    for (size_t i = 0; i < input->n_locations && hashes; i++)
        hashes[i] = hash_location(input, (uint32_t)i + 1);
    return hashes;
}

static struct hash hash_sample(const struct pprof_sample *sample, const struct hash *locations)
{
    struct hash hash = {sample->n_locations, sample->n_labels};

    for (uint32_t i = 0; i < sample->n_locations; i++) {
        const struct hash part = locations[sample->locations[i] - 1];
        mix(&hash, part.a);
        mix(&hash, part.b);
    }
    for (uint32_t i = 0; i < sample->n_labels; i++) {
        if (sample->labels[i].unit && strcmp(sample->labels[i].unit, "seconds") == 0)
            continue; /* an age, which differs in every snapshot */
        mix_text(&hash, sample->labels[i].key);
        mix_text(&hash, sample->labels[i].text);
        mix(&hash, (uint64_t)sample->labels[i].number);
    }
    return hash;
}

/* ---- the table ---- */

static size_t n_slots(size_t n)
{
    size_t slots = 16;

    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

static uint32_t *slot_of(const struct delta *delta, struct hash hash)
{
    for (size_t at = hash.a & delta->mask;; at = (at + 1) & delta->mask) {
        uint32_t *slot = &delta->slots[at];
        if (!*slot)
            return slot;
        const uint64_t *key = delta->samples[*slot - 1].key;
        if (key[0] == hash.a && key[1] == hash.b)
            return slot;
    }
}

size_t delta_bytes(const struct pprof_input *input)
{
    return input->n_samples * sizeof(struct delta_sample) +
           n_slots(input->n_samples) * sizeof(uint32_t) +
           input->n_locations * sizeof(struct hash) + 64;
}

int delta_take(struct delta *ret_delta, const struct pprof_input *input, struct workspace *work)
{
    *ret_delta = (struct delta){
        .mono_ns = input->mono_ns,
        .n_types = input->n_types,
        .samples = workspace_take_array(work, input->n_samples, sizeof *ret_delta->samples),
        .slots = workspace_take_array(work, n_slots(input->n_samples), sizeof(uint32_t)),
        .mask = n_slots(input->n_samples) - 1,
    };
    const struct hash *locations = hash_locations(input, work);
    if (!ret_delta->samples || !ret_delta->slots || !locations)
        return -ENOMEM;
    for (size_t i = 0; i < input->n_samples; i++) {
        const struct pprof_sample *sample = &input->samples[i];
        const struct hash hash = hash_sample(sample, locations);
        uint32_t *slot = slot_of(ret_delta, hash);
        if (!*slot) {
            ret_delta->samples[ret_delta->n] = (struct delta_sample){
                .key = {hash.a, hash.b}
            };
            *slot = (uint32_t)++ret_delta->n;
        }
        for (size_t k = 0; k < input->n_types; k++)
            ret_delta->samples[*slot - 1].values[k] += sample->values[k];
    }
    return 0;
}

/* ---- the difference ---- */

static bool is_in_use(const struct pprof_type *type)
{
    return strncmp(type->type, "inuse_", strlen("inuse_")) == 0;
}

static void subtract(const struct pprof_input *input, const struct pprof_sample *sample,
                     const struct delta_sample *earlier)
{
    int64_t *values = (int64_t *)(uintptr_t)sample->values; /* the caller's, writable */

    for (size_t k = 0; k < input->n_types; k++) {
        if (is_in_use(&input->types[k]))
            continue;
        values[k] -= earlier->values[k];
        if (values[k] < 0)
            values[k] = 0; /* of what is open: more was closed than opened */
    }
}

int delta_subtract(struct pprof_input *input, const struct delta *earlier,
                   struct workspace *work)
{
    const struct hash *locations = hash_locations(input, work);

    if (!locations)
        return -ENOMEM;
    if (input->n_types != earlier->n_types)
        return -EINVAL;
    for (size_t i = 0; i < input->n_samples; i++) {
        const struct pprof_sample *sample = &input->samples[i];
        const uint32_t slot = *slot_of(earlier, hash_sample(sample, locations));
        if (slot)
            subtract(input, sample, &earlier->samples[slot - 1]);
    }
    input->duration_ns = input->mono_ns - earlier->mono_ns;
    if (input->duration_ns < 1)
        input->duration_ns = 1; /* 0 would be "not set" */
    return 0;
}
