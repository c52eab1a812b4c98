/* text_sink - writes texts into a sink, through a buffer, without an end to their length.
 *
 * The first error stops it: what comes after is swallowed, text_sink_finish() says it.
 *
 * Signal-safe; one belongs to one job. */
#ifndef CPROF_AGENT_TEXT_SINK_H
#define CPROF_AGENT_TEXT_SINK_H

#include "base/sink.h"
#include "base/text.h"

enum { TEXT_SINK_BYTES = 4 << 10, TEXT_SINK_LINE_MAX = 1 << 10 };

struct text_sink {
    struct sink *to; /* borrowed */
    int err;
    struct text text;
    char buffer[TEXT_SINK_BYTES];
};

void text_sink_init(struct text_sink *out, struct sink *to);
/* The bytes as they are. */
void text_sink_bytes(struct text_sink *out, const char *bytes, size_t n);
void text_sink_add(struct text_sink *out, const char *string);
/* text_addf()'s formats; up to TEXT_SINK_LINE_MAX bytes. */
void text_sink_addf(struct text_sink *out, const char *format, ...) PRINTF(2, 3);
/* As content or attribute of HTML, or inside of a JSON string in HTML, or a label of Prometheus. */
void text_sink_html(struct text_sink *out, const char *string);
/* As part of the path of a link. */
void text_sink_url(struct text_sink *out, const char *string);
void text_sink_json(struct text_sink *out, const char *string);
void text_sink_label(struct text_sink *out, const char *string);
/* Flushes. 0 or the sink's first error. */
int text_sink_finish(struct text_sink *out);

#endif
