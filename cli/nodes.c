/* nodes - names first: every function, mapping and the unknown get their shown name, equal
 * names the same node (encoder/strings numbers them). Then one pass over the samples. */
#include "cli/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/names.h"
#include "encoder/strings.h"

#if !defined(__clang__)
#pragma GCC diagnostic ignored \
    "-Wanalyzer-malloc-leak" /* it loses sight: nodes_done() frees them */
#endif

/* Sums stop at the ends of int64_t; files may hold any number. */
static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? (a < 0 ? INT64_MIN : INT64_MAX) : sum;
}

static int64_t magnitude(int64_t value)
{
    return value == INT64_MIN ? INT64_MAX : value < 0 ? -value : value;
}

/* What stands for the functions of a mapping without symbols: "[libc.so.6]". */
static char *mapping_name(const struct profile_mapping *mapping)
{
    const char *slash = strrchr(mapping->file, '/');
    const char *base = slash ? slash + 1 : mapping->file;
    char *name;

    if (!*base)
        return strdup("<unknown>");
    return asprintf(&name, "[%s]", base) < 0 ? NULL : name;
}

static int make_names(struct nodes *nodes, const struct profile *profile)
{
    nodes->n_names = profile->n_functions + profile->n_mappings + 1;
    nodes->names = calloc(nodes->n_names, sizeof *nodes->names);
    if (!nodes->names)
        return -ENOMEM;
    char **mapping_names = nodes->names + profile->n_functions;
    for (size_t i = 0; i < profile->n_functions; i++)
        nodes->names[i] = names_simple(&profile->functions[i]);
    for (size_t i = 0; i < profile->n_mappings; i++)
        mapping_names[i] = mapping_name(&profile->mappings[i]);
    nodes->names[nodes->n_names - 1] = strdup("<unknown>");
    for (size_t i = 0; i < nodes->n_names; i++)
        if (!nodes->names[i])
            return -ENOMEM;
    return 0;
}

static int make_nodes(struct nodes *nodes)
{
    struct strings strings;
    struct workspace work = {.size = strings_workspace_bytes(nodes->n_names)};

    nodes->strings_memory = work.base = calloc(1, work.size);
    nodes->nodes = calloc(nodes->n_names + 1, sizeof *nodes->nodes);
    nodes->of_name = calloc(nodes->n_names, sizeof(struct node *));
    if (!work.base || !nodes->nodes || !nodes->of_name)
        return -ENOMEM;
    const int err = strings_init(&strings, nodes->n_names, &work);
    if (err < 0)
        return err;
    for (size_t i = 0; i < nodes->n_names; i++) {
        struct node *node = &nodes->nodes[strings_number(&strings, nodes->names[i])];
        node->name = nodes->names[i];
        nodes->of_name[i] = node;
    }
    nodes->n_nodes = strings.n_texts;
    return 0;
}

/* The node of line `i`; of the whole location when it has no lines. */
static struct node *node_of(const struct nodes *nodes, const struct profile *profile,
                            const struct profile_location *location, size_t i)
{
    size_t name = nodes->n_names - 1;

    if (location->mapping)
        name = profile->n_functions + (size_t)(location->mapping - profile->mappings);
    if (location->n_lines) {
        const size_t function = (size_t)(location->lines[i].function - profile->functions);
        if (*nodes->names[function])
            name = function;
    }
    return nodes->of_name[name];
}

/* Adds `value` to the cum of every node on the stack, root first.  Returns the leaf. */
static struct node *add_stack(const struct nodes *nodes, const struct profile *profile,
                              size_t sample, int64_t value)
{
    const struct profile_sample *s = &profile->samples[sample];
    struct node *parent = NULL;

    for (size_t i = s->n_locations; i-- > 0;) {
        const size_t n_lines = s->locations[i]->n_lines ? s->locations[i]->n_lines : 1;
        for (size_t k = n_lines; k-- > 0;) {
            struct node *node = node_of(nodes, profile, s->locations[i], k);
            if (node->last_sample != sample + 1)
                node->cum = plus(node->cum, value);
            node->last_sample = sample + 1;
            if (parent && parent != node && k + 1 < n_lines)
                node->is_inlined = true;
            else if (parent && parent != node)
                node->is_called = true;
            parent = node;
        }
    }
    return parent;
}

static void add_samples(struct nodes *nodes, const struct profile *profile, size_t type,
                        const struct filter *filter)
{
    for (size_t i = 0; i < profile->n_samples; i++) {
        const int64_t value = profile->samples[i].values[type];
        nodes->total = plus(nodes->total, magnitude(value));
        if (!filter_accepts(filter, &profile->samples[i]))
            continue;
        nodes->any_met = true;
        if (value == 0)
            continue;
        struct node *leaf = add_stack(nodes, profile, i, value);
        leaf->flat = plus(leaf->flat, value);
        nodes->shown_total = plus(nodes->shown_total, value);
    }
}

/* Removes nodes without a sample.  Invalidates of_name. */
static void drop_empty(struct nodes *nodes)
{
    size_t n = 0;

    for (size_t i = 0; i < nodes->n_nodes; i++)
        if (nodes->nodes[i].flat || nodes->nodes[i].cum)
            nodes->nodes[n++] = nodes->nodes[i];
    nodes->n_nodes = n;
}

int nodes_init(struct nodes *nodes, const struct profile *profile, size_t type,
               const struct filter_options *options, const char **ret_error)
{
    struct filter filter;

    *nodes = (struct nodes){0};
    *ret_error = strerror(ENOMEM);
    int err = make_names(nodes, profile);
    if (err == 0)
        err = make_nodes(nodes);
    if (err < 0)
        return err;
    err = filter_init(&filter, profile, options, nodes->names, ret_error);
    if (err == 0) {
        add_samples(nodes, profile, type, &filter);
        drop_empty(nodes);
        nodes->focus_met = filter.focus_met;
        nodes->ignore_met = filter.ignore_met;
    }
    filter_done(&filter);
    return err;
}

void nodes_done(struct nodes *nodes)
{
    for (size_t i = 0; nodes->names && i < nodes->n_names; i++)
        free(nodes->names[i]);
    free(nodes->names);
    free(nodes->of_name);
    free(nodes->nodes);
    free(nodes->strings_memory);
}
