/* nodes - a profile summed up by function, as the rows of a table.
 *
 * A node is a shown name; functions (or, without symbols, addresses of one file) that share it
 * are one. flat: the samples whose leaf it is. cum: the samples in whose stack it is, each
 * counted once however often it recurs. */
#ifndef CPROF_CLI_NODES_H
#define CPROF_CLI_NODES_H

#include "cli/filter.h"
#include "cli/profile.h"

struct node {
    const char *name; /* owned by struct nodes; may hold control characters */
    int64_t flat, cum;
    bool is_called, is_inlined; /* by another function, as seen in some stack */
    size_t last_sample;         /* 1 + index of the last sample added to cum */
};

struct nodes {
    struct node *nodes; /* only those with samples */
    size_t n_nodes;
    int64_t total;              /* of all samples, also of those that the filter refuses */
    int64_t shown_total;        /* of all nodes' flat */
    bool focus_met, ignore_met; /* a function matches */
    bool any_met;               /* a sample is accepted */

    char **names; /* per function, then per mapping, then one for the unknown */
    size_t n_names;
    struct node **of_name; /* the node of names[i] */
    void *strings_memory;
};

/* Sums values[type] of the samples that `options` accept.  0 or -errno; *ret_error says why.
 * nodes_done() in any case. */
int nodes_init(struct nodes *nodes, const struct profile *profile, size_t type,
               const struct filter_options *options, const char **ret_error);
void nodes_done(struct nodes *nodes);

#endif
