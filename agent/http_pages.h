/* http_pages - what a person sees: the index, and a profile as a flame graph; and what Prometheus reads.
 *
 * Pages are whole in themselves: style, script and data are in them, nothing is fetched, and a policy
 * in the answer's head forbids it.  Without a script the flame page is a table.  All texts of the program
 * (names of functions, files) are escaped.
 *
 * Called with the turn of a snapshot taken (trigger.h). Signal-safe. */
#ifndef CPROF_AGENT_HTTP_PAGES_H
#define CPROF_AGENT_HTTP_PAGES_H

#include <stdbool.h>

#include "base/sink.h"
#include "base/workspace.h"
#include "encoder/pprof.h"

/* What the server knows of itself. */
struct http_state {
    uint64_t n_requests;
    uint32_t n_connections;
    bool has_cmdline;
    const char *host,
        *prefix; /* of the request: what its sender calls this server, or NULL; where the index is */
};

int http_write_index(struct sink *sink, const struct http_state *state);
int http_write_metrics(struct sink *sink, const struct http_state *state);

/* `query`: how the profile was asked for, "" or ?seconds=... */
int http_write_flame(struct sink *sink, const char *name, const char *query,
                     const struct pprof_input *input, struct workspace *work);
/* What that takes of a workspace. */
size_t http_flame_bytes(const struct pprof_input *input);

#endif
