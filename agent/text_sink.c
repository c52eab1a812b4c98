/* text_sink - see text_sink.h. */
#include "agent/text_sink.h"

#include <stdbool.h>
#include <string.h>

void text_sink_init(struct text_sink *out, struct sink *to)
{
    out->to = to;
    out->err = 0;
    text_init(&out->text, out->buffer, sizeof out->buffer);
}

int text_sink_finish(struct text_sink *out)
{
    if (out->err == 0)
        out->err = sink_write(out->to, out->text.data, out->text.size);
    out->text.size = 0;
    return out->err;
}

static void make_room(struct text_sink *out, size_t n)
{
    if (sizeof out->buffer - out->text.size <= n)
        text_sink_finish(out);
}

void text_sink_bytes(struct text_sink *out, const char *bytes, size_t n)
{
    make_room(out, n);
    if (n < sizeof out->buffer)
        text_add_bytes(&out->text, bytes, n);
    else if (out->err == 0)
        out->err = sink_write(out->to, bytes, n);
}

void text_sink_add(struct text_sink *out, const char *string)
{
    text_sink_bytes(out, string, strlen(string));
}

void text_sink_addf(struct text_sink *out, const char *format, ...)
{
    va_list args;

    make_room(out, TEXT_SINK_LINE_MAX);
    va_start(args, format);
    text_addv(&out->text, format, args);
    va_end(args);
}

/* What stands for a character, or NULL: itself. */
typedef const char *escaper(char c);

static void add_escaped(struct text_sink *out, const char *string, escaper *escape)
{
    for (; *string; string++) {
        const char *instead = escape(*string);
        if (instead)
            text_sink_add(out, instead);
        else
            text_sink_bytes(out, string, 1);
    }
}

static const char *escape_html(char c)
{
    switch (c) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return (unsigned char)c < ' ' && c != '\n' ? "?" : NULL;
    }
}

/* No script can be ended, no comment begun from inside of it. */
static const char *escape_json(char c)
{
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '<': return "\\u003c";
    case '>': return "\\u003e";
    case '&': return "\\u0026";
    default: return (unsigned char)c < ' ' ? "\\u001a" : NULL;
    }
}

static const char *escape_label(char c)
{
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    default: return NULL;
    }
}

void text_sink_html(struct text_sink *out, const char *string)
{
    add_escaped(out, string, escape_html);
}

void text_sink_url(struct text_sink *out, const char *string)
{
    for (; *string; string++) {
        const unsigned char c = (unsigned char)*string;
        const bool is_plain =
            (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || strchr("-._~", c);
        if (is_plain)
            text_sink_bytes(out, string, 1);
        else
            text_sink_addf(out, "%%%x%x", c >> 4, c & 15);
    }
}

void text_sink_json(struct text_sink *out, const char *string)
{
    add_escaped(out, string, escape_json);
}

void text_sink_label(struct text_sink *out, const char *string)
{
    add_escaped(out, string, escape_label);
}
