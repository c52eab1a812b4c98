/* http_routes - what is asked for and what is answered; knows nothing of sockets.
 *
 * An exchange is one request and its answer.  http_route() makes the answer in memory, or says what it waits
 * for: the turn (one snapshot at a time in a process, so somebody else is writing one) or the end of
 * ?seconds=N.  It is called again then; others are served meanwhile.
 *
 * A delta keeps of its first snapshot only sums (encoder/delta.h); delta_heap, delta_block and delta_mutex
 * keep those of the last fetch.
 *
 * Side effects only by POST, and not from the page of another site.
 *
 * On the agent's thread; http_routes_init() from the constructor. */
#ifndef CPROF_AGENT_HTTP_ROUTES_H
#define CPROF_AGENT_HTTP_ROUTES_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/blocks.h"
#include "agent/config.h"
#include "agent/http_pages.h"
#include "agent/http_parse.h"
#include "agent/profile.h"
#include "base/text.h"
#include "base/workspace.h"
#include "encoder/delta.h"

enum http_progress {
    HTTP_ANSWERED,
    HTTP_WANTS_TURN, /* call again soon */
    HTTP_WANTS_TIME, /* call again at wake_ns */
};

enum http_form { HTTP_AS_PPROF, HTTP_AS_TEXT, HTTP_AS_FLAME };

struct http_exchange {
    struct http_request request;
    const char *body; /* NUL-terminated */
    size_t body_bytes;

    int status; /* 0: not known yet */
    const char *type;
    struct text fields; /* more lines of the head */
    char fields_buffer[512];
    struct blocks answer;

    /* A profile on its way. */
    const struct profile *profile;
    enum http_form form;
    int scraped;        /* number of a delta_NAME + 1; 0: it is none */
    int64_t seconds;    /* 0: no delta */
    uint64_t wake_ns;   /* clock_mono_ns() */
    struct delta start; /* of the delta, once it has begun */
    struct workspace start_work;
    /* What is to be done when it has the turn. */
    int (*work)(struct http_exchange *exchange);
    bool wants_no_names;
};

/* needs_loopback_host: Host must mean this machine.  token: NULL when none is asked for; kept. */
void http_routes_init(const struct config *config, bool needs_loopback_host, const char *token);

/* Before the first call the exchange holds a request and is zero otherwise. */
enum http_progress http_route(struct http_exchange *exchange, const struct http_state *state);

/* An answer of one line, for what never became a request too. */
void http_refuse(struct http_exchange *exchange, int status, const char *text);

/* Gives back what it holds. */
void http_exchange_drop(struct http_exchange *exchange);

const char *http_status_text(int status);

#endif
