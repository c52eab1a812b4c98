/* http_pages - see http_pages.h. */
#include "agent/http_pages.h"

#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/agent_thread.h"
#include "agent/contention.h"
#include "agent/dump.h"
#include "agent/handles.h"
#include "agent/heap.h"
#include "agent/locations.h"
#include "agent/modules.h"
#include "agent/objects.h"
#include "agent/process.h"
#include "agent/profile.h"
#include "agent/text_sink.h"
#include "agent/unwind.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/version.h"

/* The files as they are (paths from the top of the tree). */
/* NOLINTBEGIN(bugprone-macro-parentheses): a name that is declared */
#define INCLUDE_FILE(name, path) \
    __asm__(".section .rodata\n" \
            ".local " #name "\n.type " #name ", %object\n" #name ":\n" \
            ".incbin \"" path "\"\n.byte 0\n" \
            ".size " #name ", . - " #name "\n" \
            ".previous\n"); \
    extern const char name[] __attribute__((visibility("hidden")))
/* NOLINTEND(bugprone-macro-parentheses) */

INCLUDE_FILE(page_css, "agent/page.css");
INCLUDE_FILE(flame_js, "agent/flame.js");

static const char doctype[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>";

static void add_top(struct text_sink *out, const char *title)
{
    text_sink_add(out, doctype);
    text_sink_html(out, title);
    text_sink_addf(out, ": %s[%d]</title>\n<style>\n", dump_exe_name(), process_pid());
    text_sink_add(out, page_css);
    text_sink_add(out, "</style></head><body>\n");
}

/* Those made at run time are: by the program, which says what is in them. */
static bool is_collected(const struct profile *profile)
{
    return profile->objects || agent_profiles() & config_profile_bit(profile->name);
}

/* ---- sums ---- */

struct sums {
    uint64_t count; /* of stacks; of live values, where these are the profile */
    size_t n_values;
    int64_t values[PPROF_TYPES_MAX];
};

static void add_current(const struct profile_current *current,
                        const struct profile_sample *sample)
{
    struct sums *sums = current->arg;

    for (size_t i = 0; i < sums->n_values; i++)
        sums->values[i] += sample->values[i];
}

static void sum_records(const struct profile *profile, struct sums *sums)
{
    for (uint32_t id = 0; id < records_count(); id++) {
        struct record *record = record_get(id);
        int64_t values[PPROF_TYPES_MAX] = {0};
        if (!record || record->source != profile->source)
            continue;
        profile->read(record, values);
        for (size_t i = 0; i < profile->n_types; i++)
            sums->values[i] += values[i];
    }
}

/* What counts live things has them as its values, whether or not it knows their stacks. */
static bool counts_things(const struct profile *profile)
{
    return profile->current && strcmp(profile->types[0].type, profile->name) == 0;
}

/* Of those made at run time, of which there may be thousands, only the number. */
static struct sums sum_profile(const struct profile *profile)
{
    struct sums sums = {.count = profile_count(profile), .n_values = profile->n_types};
    const struct profile_current current = {.add = add_current, .arg = &sums};

    if (profile->objects) {
        sums.values[0] = (int64_t)objects_count(profile->objects);
        sums.n_values = 1;
        return sums;
    }
    sum_records(profile, &sums);
    if (profile->current)
        profile->current(&current);
    if (counts_things(profile))
        sums.count = (uint64_t)sums.values[0];
    return sums;
}

/* 12.3 MiB, 4.5 s, 17 */
static void add_human(struct text_sink *out, int64_t value, const char *unit)
{
    static const struct {
        const char *unit, *word;
        int64_t size;
    } scales[] = {
        {"bytes",       "TiB", (int64_t)1 << 40},
        {"bytes",       "GiB", 1 << 30         },
        {"bytes",       "MiB", 1 << 20         },
        {"bytes",       "KiB", 1 << 10         },
        {"bytes",       "B",   1               },
        {"nanoseconds", "s",   1000000000      },
        {"nanoseconds", "ms",  1000000         },
        {"nanoseconds", "us",  1000            },
        {"nanoseconds", "ns",  1               },
    };

    for (size_t i = 0; i < COUNT_OF(scales); i++) {
        const int64_t size = scales[i].size;
        if (strcmp(scales[i].unit, unit) != 0 || (value < size && size > 1))
            continue;
        text_sink_addf(out, "%ld", value / size);
        if (size > 1)
            text_sink_addf(out, ".%ld", value % size * 10 / size);
        text_sink_addf(out, " %s", scales[i].word);
        return;
    }
    text_sink_addf(out, "%ld", value);
}

/* ---- the index ---- */

static void add_links(struct text_sink *out, const char *name)
{
    static const struct {
        const char *before, *behind, *title, *text;
    } links[] = {
        {"",       "?debug=1",    "text of ",                               NULL         },
        {"flame/", "",            "flame graph of ",                        "flame graph"},
        {"flame/", "?seconds=10", "flame graph of the next 10 seconds of ", "flame 10 s" },
        {"",       "?debug=1",    "text of ",                               "text"       },
        {"",       "",            "pprof file of ",                         "pprof"      },
    };

    for (size_t i = 0; i < COUNT_OF(links); i++) {
        text_sink_addf(out, "<td><a href=\"%s", links[i].before);
        text_sink_url(out, name);
        text_sink_addf(out, "%s\" title=\"%s", links[i].behind, links[i].title);
        text_sink_html(out, name);
        text_sink_add(out, "\">");
        text_sink_html(out, links[i].text ? links[i].text : name);
        text_sink_add(out, "</a></td>");
    }
}

static void add_profile_row(struct text_sink *out, const struct profile *profile)
{
    const struct sums sums = sum_profile(profile);

    text_sink_addf(out, "<tr><td class=\"n\">%lu</td>", sums.count);
    add_links(out, profile->name);
    text_sink_add(out, "<td>");
    for (size_t i = 0; i < sums.n_values; i++) {
        text_sink_add(out, i ? ", <span class=\"whole\">" : "<span class=\"whole\">");
        add_human(out, sums.values[i], profile->types[i].unit);
        text_sink_add(out, " <span class=\"quiet\">");
        text_sink_html(out, profile->types[i].type);
        text_sink_add(out, "</span></span>");
    }
    text_sink_addf(out, "</td><td>%s</td><td class=\"what\">",
                   is_collected(profile) ? "on" : "off");
    text_sink_html(out, profile->description);
    text_sink_add(out, "</td></tr>\n");
}

static void add_button(struct text_sink *out, const char *action, const char *text)
{
    text_sink_addf(out,
                   "<form method=\"post\" action=\"%s\"><input type=\"hidden\" name=\"back\" "
                   "value=\"1\"><button>%s</button></form>\n",
                   action, text);
}

static void add_rates(struct text_sink *out)
{
    text_sink_addf(
        out,
        "<h2>Rates</h2>\n<form method=\"post\" action=\"rate\"><div class=\"bar\">"
        "<input type=\"hidden\" name=\"back\" value=\"1\">\n"
        "<label>heap: one sample per <input name=\"heap\" size=\"8\" value=\"%lu\"> "
        "bytes</label>\n"
        "<label>block: one per <input name=\"block\" size=\"8\" value=\"%lu\"> ns of "
        "waiting</label>\n"
        "<label>mutex: one per <input name=\"mutex\" size=\"8\" value=\"%lu\"> ns of "
        "waiting</label>\n"
        "<button>set</button> <span class=\"quiet\">0 is off</span></div></form>\n",
        heap_rate(), contention_block_rate(), contention_mutex_rate());
}

static void add_row(struct text_sink *out, const char *name, uint64_t value)
{
    text_sink_add(out, "<tr><td>");
    text_sink_html(out, name);
    text_sink_addf(out, "</td><td class=\"n\">%lu</td></tr>\n", value);
}

/* The first profile that shows it. */
static const char *source_name(uint32_t source)
{
    for (size_t i = 0; i < n_profiles; i++)
        if (profiles[i].source == source)
            return profiles[i].name;
    return "";
}

static void add_samples(struct text_sink *out)
{
    text_sink_add(out, "<h2>Samples</h2>\n<table><tr><th>source</th><th class=\"n\">kept</th>"
                       "<th class=\"n\">lost</th><th>why</th></tr>\n");
    for (int source = 0; source < N_SOURCES; source++) {
        uint64_t lost = 0;
        for (int why = 0; why < N_DROPS; why++)
            lost += thread_sum_dropped(source, why);
        text_sink_addf(out,
                       "<tr><td>%s</td><td class=\"n\">%lu</td><td class=\"n\">%lu</td><td>",
                       source_name(source), thread_sum_kept(source), lost);
        for (int why = 0; why < N_DROPS; why++) {
            const uint64_t n = thread_sum_dropped(source, why);
            if (n == 0)
                continue;
            text_sink_addf(out, "%lu ", n);
            text_sink_html(out, thread_drop_text(why));
            text_sink_add(out, "<br>");
        }
        text_sink_add(out, "</td></tr>\n");
    }
    text_sink_add(out, "</table>\n");
}

/* The program's. */
static uint64_t n_threads(void)
{
    const uint64_t n = process_n_threads();

    return n && agent_thread_is_running() ? n - 1 : n;
}

static uint64_t cpu_us(void)
{
    return agent_thread_cpu_ns() / 1000;
}

static void add_agent(struct text_sink *out, const struct http_state *state)
{
    text_sink_add(out, "<h2>Agent</h2>\n<table>\n");
    add_row(out, "memory in use (bytes)", arena_used_bytes());
    add_row(out, "memory cap, CPROF_MEMORY (bytes)", arena_cap_bytes());
    add_row(out, "requests for memory refused", arena_n_refused());
    add_row(out, "CPU time of the agent's thread (us)", cpu_us());
    add_row(out, "distinct stacks", stacktab_count());
    add_row(out, "places in code", locations_count());
    add_row(out, "libraries seen", modules_count());
    add_row(out, "libraries refused", modules_n_refused());
    add_row(out, "snapshots written", load_relaxed(&process_self()->n_snapshots));
    add_row(out, "HTTP requests", state->n_requests);
    text_sink_add(out, "</table>\n");
}

static void add_title(struct text_sink *out)
{
    text_sink_addf(out, "<h1>%s <span class=\"quiet\">pid %d</span></h1>\n<p>", dump_exe_name(),
                   process_pid());
    text_sink_html(out, modules_main_path());
    text_sink_addf(out, ", up %lu s, cprof %s: <b>%s</b>. ", process_up_ns() / 1000000000u,
                   CPROF_VERSION, agent_profiles() != 0 ? "collecting" : "stopped");
    if (agent_profiles() != 0)
        add_button(out, "stop", "stop");
    else
        add_button(out, "start", "start");
    add_button(out, "snapshot", "write files");
    text_sink_add(out, "</p>\n");
}

/* A command to be copied. */
static void add_hint(struct text_sink *out, const struct http_state *state)
{
    text_sink_add(out, "<p class=\"quiet\"><code>go tool pprof -http=: http://");
    text_sink_html(out, state->host ? state->host : "ADDRESS");
    text_sink_html(out, state->prefix);
    text_sink_add(out, "/heap</code> &ndash; ?seconds=N: what happens in the next N seconds; "
                       "?debug=1: as text.</p>\n");
}

int http_write_index(struct sink *sink, const struct http_state *state)
{
    struct text_sink out;

    text_sink_init(&out, sink);
    add_top(&out, "/debug/pprof/");
    add_title(&out);
    text_sink_add(
        &out,
        "<h2>Profiles</h2>\n<table><tr><th class=\"n\">count</th><th>profile</th>"
        "<th colspan=\"4\"></th><th>sums</th><th>is</th><th class=\"what\">what</th></tr>\n");
    for (const struct profile *profile = NULL; (profile = profile_next(profile));)
        add_profile_row(&out, profile);
    text_sink_add(&out, "</table>\n");
    add_hint(&out, state);
    text_sink_add(&out, "<p>");
    if (state->has_cmdline)
        text_sink_add(&out, "<a href=\"cmdline\">command line</a> ");
    text_sink_add(&out, "<a href=\"metrics\">metrics</a></p>\n");
    add_rates(&out);
    add_samples(&out);
    add_agent(&out, state);
    text_sink_add(&out, "</body></html>\n");
    return text_sink_finish(&out);
}

/* ---- the flame page ---- */

/* Names of a stack, leaf first: a location has a name per inlined call. */
static uint32_t n_names(const struct pprof_input *input, const struct pprof_sample *sample)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < sample->n_locations; i++)
        n += input->locations[sample->locations[i] - 1].n_lines;
    return n;
}

static void add_data_sample(struct text_sink *out, const struct pprof_input *input,
                            const struct pprof_sample *sample)
{
    const char *comma = "";

    text_sink_add(out, "[[");
    for (uint32_t i = 0; i < sample->n_locations; i++) {
        const struct pprof_location *location = &input->locations[sample->locations[i] - 1];
        for (uint32_t k = 0; k < location->n_lines; k++) {
            text_sink_addf(out, "%s%u", comma, location->lines[k].function - 1);
            comma = ",";
        }
    }
    text_sink_add(out, "],[");
    for (size_t k = 0; k < input->n_types; k++)
        text_sink_addf(out, "%s%ld", k ? "," : "", sample->values[k]);
    text_sink_add(out, "]]");
}

static size_t chosen_type(const struct pprof_input *input)
{
    for (size_t i = 0; input->default_type && i < input->n_types; i++)
        if (strcmp(input->types[i].type, input->default_type) == 0)
            return i;
    return input->n_types - 1;
}

static void add_data(struct text_sink *out, const struct pprof_input *input)
{
    const char *comma = "";

    text_sink_add(out, "<script type=\"application/json\" id=\"data\">{\"types\":[");
    for (size_t i = 0; i < input->n_types; i++) {
        text_sink_add(out, i ? ",[\"" : "[\"");
        text_sink_json(out, input->types[i].type);
        text_sink_addf(out, "\",\"%s\"]", input->types[i].unit);
    }
    text_sink_addf(out, "],\"chosen\":%zu,\"names\":[", chosen_type(input));
    for (size_t i = 0; i < input->n_functions; i++) {
        text_sink_add(out, i ? ",\n\"" : "\"");
        text_sink_json(out, input->functions[i].name);
        text_sink_add(out, "\"");
    }
    text_sink_add(out, "],\"samples\":[");
    for (size_t i = 0; i < input->n_samples; i++) {
        if (n_names(input, &input->samples[i]) == 0)
            continue;
        text_sink_addf(out, "%s", comma);
        add_data_sample(out, input, &input->samples[i]);
        comma = ",\n";
    }
    text_sink_add(out, "]}</script>\n");
}

/* ---- its table: the functions with the most ---- */

enum { ROWS_MAX = 200 };

struct top {
    int64_t *flat, *cum;
    uint32_t *seen_in; /* sample + 1 that was counted last: recursion counts once */
    uint32_t *order;   /* functions */
    int64_t total;
};

size_t http_flame_bytes(const struct pprof_input *input)
{
    return input->n_functions * (2 * sizeof(int64_t) + 2 * sizeof(uint32_t)) + 64;
}

static void count_sample(struct top *top, const struct pprof_input *input, size_t i,
                         size_t type)
{
    const struct pprof_sample *sample = &input->samples[i];
    const int64_t value = sample->values[type];
    bool is_leaf = true;

    top->total += value;
    for (uint32_t k = 0; k < sample->n_locations; k++) {
        const struct pprof_location *location = &input->locations[sample->locations[k] - 1];
        for (uint32_t l = 0; l < location->n_lines; l++) {
            const uint32_t function = location->lines[l].function - 1;
            top->flat[function] += is_leaf ? value : 0;
            is_leaf = false;
            if (top->seen_in[function] == i + 1)
                continue;
            top->seen_in[function] = (uint32_t)i + 1;
            top->cum[function] += value;
        }
    }
}

static bool is_above(const struct top *top, uint32_t a, uint32_t b)
{
    return top->flat[a] != top->flat[b] ? top->flat[a] > top->flat[b]
                                        : top->cum[a] > top->cum[b];
}

/* The first ROWS_MAX in order: a small heap would be faster, for nothing. */
static size_t choose_rows(const struct top *top, size_t n_functions)
{
    size_t n = 0;

    for (uint32_t function = 0; function < n_functions; function++) {
        if (top->cum[function] == 0 ||
            (n == ROWS_MAX && !is_above(top, function, top->order[n - 1])))
            continue;
        size_t at = n < ROWS_MAX ? n++ : n - 1;
        for (; at > 0 && is_above(top, function, top->order[at - 1]); at--)
            top->order[at] = top->order[at - 1];
        top->order[at] = function;
    }
    return n;
}

static void add_top_value(struct text_sink *out, int64_t value, int64_t total, const char *unit)
{
    const int64_t share = total ? (int64_t)((double)value / (double)total * 10000) : 0;

    text_sink_add(out, "<td class=\"n\">");
    add_human(out, value, unit);
    text_sink_addf(out, "</td><td class=\"n\">%ld.%c%c%%</td>", share / 100,
                   (char)('0' + share / 10 % 10), (char)('0' + share % 10));
}

static int add_table(struct text_sink *out, const struct pprof_input *input,
                     struct workspace *work)
{
    const size_t n = input->n_functions, type = chosen_type(input);
    const char *unit = input->types[type].unit;
    struct top top = {
        .flat = workspace_take_array(work, n, sizeof(int64_t)),
        .cum = workspace_take_array(work, n, sizeof(int64_t)),
        .seen_in = workspace_take_array(work, n, sizeof(uint32_t)),
        .order = workspace_take_array(work, n < ROWS_MAX ? n : ROWS_MAX, sizeof(uint32_t)),
    };

    if (!top.flat || !top.cum || !top.seen_in || !top.order)
        return -ENOMEM;
    for (size_t i = 0; i < input->n_samples; i++)
        count_sample(&top, input, i, type);
    text_sink_add(out, "<h2>Functions by ");
    text_sink_html(out, input->types[type].type);
    text_sink_add(out, "</h2>\n<table id=\"top\"><tr><th class=\"n\">flat</th>"
                       "<th class=\"n\">flat%</th><th class=\"n\">cum</th>"
                       "<th class=\"n\">cum%</th><th>function</th></tr>\n");
    const size_t n_rows = choose_rows(&top, n);
    for (size_t i = 0; i < n_rows; i++) {
        const uint32_t function = top.order[i];
        text_sink_add(out, "<tr>");
        add_top_value(out, top.flat[function], top.total, unit);
        add_top_value(out, top.cum[function], top.total, unit);
        text_sink_add(out, "<td class=\"name\">");
        text_sink_html(out, input->functions[function].name);
        text_sink_add(out, "</td></tr>\n");
    }
    text_sink_add(out, "</table>\n");
    return 0;
}

/* ---- the page ---- */

static void add_navigation(struct text_sink *out, const char *name, const char *query)
{
    text_sink_add(out, "<nav><a href=\"../\">all profiles</a>\n");
    for (const struct profile *profile = NULL; (profile = profile_next(profile));) {
        text_sink_add(out, "<a href=\"");
        text_sink_url(out, profile->name);
        text_sink_add(out, "\" title=\"flame graph of ");
        text_sink_html(out, profile->name);
        text_sink_add(out,
                      strcmp(profile->name, name) == 0 ? "\" aria-current=\"page\">" : "\">");
        text_sink_html(out, profile->name);
        text_sink_add(out, "</a>\n");
    }
    text_sink_add(out, "</nav>\n<h1>");
    text_sink_html(out, name);
    text_sink_addf(out, " <span class=\"quiet\">%s[%d] ", dump_exe_name(), process_pid());
    text_sink_html(out, query);
    text_sink_add(out, "</span></h1>\n");
}

int http_write_flame(struct sink *sink, const char *name, const char *query,
                     const struct pprof_input *input, struct workspace *work)
{
    struct text_sink out;

    text_sink_init(&out, sink);
    add_top(&out, name);
    add_navigation(&out, name, query);
    text_sink_add(
        &out,
        "<div class=\"bar\"><label>type <select id=\"type\"></select></label>\n"
        "<label>search <input id=\"search\" type=\"search\" placeholder=\"function\"></label>\n"
        "<span id=\"matched\"></span>\n"
        "<label><input id=\"inverted\" type=\"checkbox\"> inverted</label>\n"
        "<button id=\"reset\" type=\"button\">reset</button></div>\n"
        "<noscript><p>The graph needs JavaScript; the table below does not.</p></noscript>\n"
        "<div id=\"detail\"></div>\n<div id=\"graph\"></div>\n");
    if (input->n_samples == 0)
        text_sink_add(&out, "<p>No samples.</p>\n");
    const int err = add_table(&out, input, work);
    if (err < 0)
        return err;
    add_data(&out, input);
    text_sink_add(&out, "<script>\n");
    text_sink_add(&out, flame_js);
    text_sink_add(&out, "</script></body></html>\n");
    return text_sink_finish(&out);
}

/* ---- Prometheus ---- */

static void add_metric(struct text_sink *out, const char *name, const char *type,
                       const char *help)
{
    text_sink_addf(out, "# HELP cprof_%s %s\n# TYPE cprof_%s %s\n", name, help, name, type);
}

static void add_number(struct text_sink *out, const char *name, const char *type,
                       const char *help, uint64_t value)
{
    add_metric(out, name, type, help);
    text_sink_addf(out, "cprof_%s %lu\n", name, value);
}

static void add_sample_metrics(struct text_sink *out)
{
    add_metric(out, "samples_total", "counter", "Samples that were kept.");
    for (int source = 0; source < N_SOURCES; source++)
        text_sink_addf(out, "cprof_samples_total{source=\"%s\"} %lu\n", source_name(source),
                       thread_sum_kept(source));
    add_metric(out, "samples_dropped_total", "counter", "Samples that were lost.");
    for (int source = 0; source < N_SOURCES; source++)
        for (int why = 0; why < N_DROPS; why++) {
            text_sink_addf(out, "cprof_samples_dropped_total{source=\"%s\",reason=\"",
                           source_name(source));
            text_sink_label(out, thread_drop_text(why));
            text_sink_addf(out, "\"} %lu\n", thread_sum_dropped(source, why));
        }
}

/* `what` of a profile, up to its labels. */
static void add_profile_label(struct text_sink *out, const char *what,
                              const struct profile *profile)
{
    text_sink_addf(out, "cprof_profile_%s{profile=\"", what);
    text_sink_label(out, profile->name);
    text_sink_add(out, "\"");
}

static void add_profile_values(struct text_sink *out, const struct profile *profile)
{
    const struct sums sums = sum_profile(profile);

    for (size_t k = 0; k < sums.n_values; k++) {
        add_profile_label(out, "value", profile);
        text_sink_add(out, ",type=\"");
        text_sink_label(out, profile->types[k].type);
        text_sink_addf(out, "\",unit=\"%s\"} %ld\n", profile->types[k].unit, sums.values[k]);
    }
}

/* Live connections and blobs are the sums of their profiles; live threads are not: threadcreate counts those that were
 * made. */
static void add_profile_metrics(struct text_sink *out)
{
    const struct profile *profile;

    add_metric(out, "profile_collected", "gauge", "1: the profile is collected now.");
    for (profile = NULL; (profile = profile_next(profile));) {
        add_profile_label(out, "collected", profile);
        text_sink_addf(out, "} %d\n", is_collected(profile));
    }
    add_metric(out, "profile_value", "gauge", "Sums of the profile.");
    for (profile = NULL; (profile = profile_next(profile));)
        add_profile_values(out, profile);
}

/* How many each table has room for before it grows; one that is not there yet has 0. */
static void add_tables(struct text_sink *out)
{
    const struct {
        const char *name;
        uint64_t n;
    } tables[] = {
        {"heap",    heap_n_places()          },
        {"handles", handles_n_places()       },
        {"streams", handles_n_stream_places()},
        {"values",  objects_n_cells()        },
        {"rules",   unwind_n_rules()         },
    };

    add_metric(out, "table_places", "gauge", "Places in the agent's tables.");
    for (size_t i = 0; i < COUNT_OF(tables); i++)
        text_sink_addf(out, "cprof_table_places{table=\"%s\"} %lu\n", tables[i].name,
                       tables[i].n);
}

static void add_seconds(struct text_sink *out)
{
    char digits[8];
    const uint64_t us = cpu_us();
    struct text text;

    text_init(&text, digits, sizeof digits);
    text_add_u64(&text, us % 1000000, 6);
    add_metric(out, "cpu_seconds_total", "counter", "CPU time of the agent's threads.");
    text_sink_addf(out, "cprof_cpu_seconds_total %lu.%s\n", us / 1000000, digits);
}

int http_write_metrics(struct sink *sink, const struct http_state *state)
{
    struct text_sink out;

    text_sink_init(&out, sink);
    add_metric(&out, "info", "gauge", "Which program this is.");
    text_sink_addf(&out, "cprof_info{exe=\"%s\",pid=\"%d\",version=\"%s\"} 1\n",
                   dump_exe_name(), process_pid(), CPROF_VERSION);
    add_number(&out, "collecting", "gauge", "1: profiles are collected, 0: stopped.",
               agent_profiles() != 0);
    add_number(&out, "start_time_seconds", "gauge", "Start of the process, unix time.",
               load_relaxed(&process_self()->start_ns) / 1000000000u);
    add_number(&out, "threads", "gauge", "Threads of the program, alive now.", n_threads());
    add_sample_metrics(&out);
    add_profile_metrics(&out);
    add_tables(&out);
    add_number(&out, "stacks", "gauge", "Distinct stacks.", stacktab_count());
    add_number(&out, "locations", "gauge", "Distinct places in code.", locations_count());
    add_number(&out, "records", "gauge", "Stacks times profiles.", records_count());
    add_number(&out, "modules", "gauge", "Libraries seen.", modules_count());
    add_number(&out, "thread_records", "gauge",
               "Threads that were sampled and alive at once, at most.", thread_count());
    add_number(&out, "memory_bytes", "gauge", "Memory of the agent.", arena_used_bytes());
    add_number(&out, "memory_limit_bytes", "gauge", "CPROF_MEMORY.", arena_cap_bytes());
    add_number(&out, "memory_refused_total", "counter", "Requests that the limit refused.",
               arena_n_refused());
    add_seconds(&out);
    add_number(&out, "snapshots_total", "counter", "Snapshots written to files.",
               load_relaxed(&process_self()->n_snapshots));
    add_number(&out, "http_requests_total", "counter", "HTTP requests.", state->n_requests);
    add_number(&out, "http_connections", "gauge", "HTTP connections open.",
               state->n_connections);
    return text_sink_finish(&out);
}
