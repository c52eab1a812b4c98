#include "cli/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An expression that is perhaps not given; then it matches nothing. */
struct expression {
    regex_t regex;
    bool is_given;
};

static int compile(struct expression *expression, const char *option, const char *text,
                   const char **ret_error)
{
    static char message[256];
    char reason[128];

    expression->is_given = false;
    if (!text)
        return 0;
    const int err = regcomp(&expression->regex, text, REG_EXTENDED | REG_NOSUB);
    if (err) {
        regerror(err, &expression->regex, reason, sizeof reason);
        snprintf(message, sizeof message, "%s %.80s: %s", option, text, reason);
        *ret_error = message;
        return -EINVAL;
    }
    expression->is_given = true;
    return 0;
}

static void release(struct expression *expression)
{
    if (expression->is_given)
        regfree(&expression->regex);
}

static bool matches_text(const struct expression *expression, const char *text)
{
    return regexec(&expression->regex, text, 0, NULL, 0) == 0;
}

static bool matches(const struct expression *expression, const struct profile *profile,
                    const struct profile_location *location, char *const *names)
{
    if (!expression->is_given)
        return false;
    for (size_t i = 0; i < location->n_lines; i++) {
        const struct profile_function *function = location->lines[i].function;
        if (matches_text(expression, names[function - profile->functions]) ||
            matches_text(expression, function->filename))
            return true;
    }
    return location->mapping && matches_text(expression, location->mapping->file);
}

static void classify(struct filter *filter, const struct expression *focus,
                     const struct expression *ignore, char *const *names)
{
    const struct profile *profile = filter->profile;

    for (size_t i = 0; i < profile->n_locations; i++) {
        const struct profile_location *location = &profile->locations[i];
        if (matches(ignore, profile, location, names)) {
            filter->frames[i] = FRAME_IGNORED;
            filter->ignore_met = true;
        } else if (!focus->is_given || matches(focus, profile, location, names)) {
            filter->frames[i] = FRAME_FOCUSED;
            filter->focus_met = true;
        }
    }
}

int filter_init(struct filter *filter, const struct profile *profile,
                const struct filter_options *options, char *const *names,
                const char **ret_error)
{
    struct expression focus, ignore = {.is_given = false};

    *filter = (struct filter){.profile = profile, .options = options};
    int err = compile(&focus, "--focus", options->focus, ret_error);
    if (err == 0)
        err = compile(&ignore, "--ignore", options->ignore, ret_error);
    if (err < 0)
        goto out;
    filter->frames = calloc(profile->n_locations + 1, sizeof *filter->frames);
    if (!filter->frames) {
        *ret_error = strerror(ENOMEM);
        err = -ENOMEM;
        goto out;
    }
    classify(filter, &focus, &ignore, names);
out:
    release(&focus);
    release(&ignore);
    return err;
}

void filter_done(struct filter *filter)
{
    free(filter->frames);
}

/* `tag` is "key=value": the same text, or the same number. */
static bool label_is(const struct profile_label *label, const char *tag)
{
    const size_t key_length = strlen(label->key);
    char number[32];

    if (strncmp(tag, label->key, key_length) != 0 || tag[key_length] != '=')
        return false;
    snprintf(number, sizeof number, "%lld", (long long)label->number);
    return !strcmp(tag + key_length + 1, label->text ? label->text : number);
}

static bool carries(const struct profile_sample *sample, const char *tag)
{
    for (size_t i = 0; i < sample->n_labels; i++)
        if (label_is(&sample->labels[i], tag))
            return true;
    return false;
}

bool filter_accepts(const struct filter *filter, const struct profile_sample *sample)
{
    bool is_focused = false;

    for (size_t i = 0; i < sample->n_locations; i++) {
        const enum filter_frame frame =
            filter->frames[sample->locations[i] - filter->profile->locations];
        if (frame == FRAME_IGNORED)
            return false;
        is_focused |= frame == FRAME_FOCUSED;
    }
    for (size_t i = 0; i < filter->options->n_tags; i++)
        if (!carries(sample, filter->options->tags[i]))
            return false;
    return is_focused;
}
