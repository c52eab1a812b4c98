/* filter - which samples of a profile are looked at: --focus, --ignore, --tag.
 *
 * A frame matches an expression (POSIX extended) by its function's shown name, its source file
 * or its mapping's file.  A sample is accepted when a frame matches focus, none matches
 * ignore, and it carries every tag.  With none of them: every sample that has a stack. */
#ifndef CPROF_CLI_FILTER_H
#define CPROF_CLI_FILTER_H

#include <regex.h>

#include "cli/profile.h"

struct filter_options {
    const char *focus, *ignore; /* or NULL */
    const char **tags;          /* "key=value" */
    size_t n_tags;
};

enum filter_frame { FRAME_NEUTRAL, FRAME_FOCUSED, FRAME_IGNORED };

struct filter {
    const struct profile *profile;
    const struct filter_options *options;
    enum filter_frame *frames; /* one per location */
    bool focus_met, ignore_met;
};

/* `names`: the shown name of every function.  0 or -errno; *ret_error says what is wrong with
 * an expression (static storage).  filter_done() in any case. */
int filter_init(struct filter *filter, const struct profile *profile,
                const struct filter_options *options, char *const *names,
                const char **ret_error);
void filter_done(struct filter *filter);

bool filter_accepts(const struct filter *filter, const struct profile_sample *sample);

#endif
