/* profile_fuzz - any bytes as a pprof file: the reader refuses or gives tables that can be
 * walked.
 *
 * The reader's source is included: libraries of the build hold nothing of the command. */
#include "cli/profile.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches everything a verb may touch, so that AddressSanitizer looks at it. */
static size_t walk(const struct profile *profile)
{
    size_t sum = strlen(profile->types[profile->default_type].unit);

    for (size_t i = 0; i < profile->n_mappings; i++)
        sum += strlen(profile->mappings[i].file) + strlen(profile->mappings[i].build_id);
    for (size_t i = 0; i < profile->n_comments; i++)
        sum += strlen(profile->comments[i]);
    for (size_t i = 0; i < profile->n_samples; i++) {
        const struct profile_sample *sample = &profile->samples[i];
        sum += (size_t)sample->values[profile->n_types - 1];
        for (size_t k = 0; k < sample->n_labels; k++)
            sum += strlen(sample->labels[k].text ? sample->labels[k].text
                                                 : sample->labels[k].unit);
        for (size_t k = 0; k < sample->n_locations; k++)
            for (size_t l = 0; l < sample->locations[k]->n_lines; l++)
                sum += strlen(sample->locations[k]->lines[l].function->name);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile size_t sink;
    struct profile profile;

    if (profile_decode(&profile, data, size) == 0)
        sink += walk(&profile);
    else if (!*profile.error)
        abort();
    profile_done(&profile);
    return 0;
}
