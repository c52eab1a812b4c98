#include "cli/report.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/nodes.h"
#include "cli/profile.h"
#include "cli/units.h"
#include "cli/verb.h"

struct request {
    const struct report_style *style;
    const char *file;
    const char *type; /* name or number; NULL: the profile's default */
    size_t n_rows;    /* 0: all */
    bool by_cum, with_comments;
    struct filter_options filter;
};

/* One table while it is printed. */
struct table {
    const struct request *request;
    const struct profile *profile;
    const struct profile_type *type;
    size_t index; /* of the type */
    const struct node *rows;
    size_t n_rows, n_kept; /* printed; not dropped for being small */
    size_t n_dropped;
    int64_t total;
    const char *unit;
};

/* ---- which rows ---- */

static uint64_t magnitude(int64_t value)
{
    return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

static int descending(int64_t a, int64_t b)
{
    return (magnitude(a) < magnitude(b)) - (magnitude(a) > magnitude(b));
}

static int compare_flat(const void *a, const void *b)
{
    const struct node *x = a, *y = b;
    int order = descending(x->flat, y->flat);

    if (order == 0)
        order = descending(x->cum, y->cum);
    return order ? order : strcmp(x->name, y->name);
}

static int compare_cum(const void *a, const void *b)
{
    const struct node *x = a, *y = b;
    int order = descending(x->cum, y->cum);

    if (order == 0)
        order = descending(x->flat, y->flat);
    return order ? order : strcmp(x->name, y->name);
}

/* Moves what is large enough to the front; returns how many that is. */
static size_t keep_large(struct nodes *nodes, double fraction)
{
    const uint64_t least = (uint64_t)fabs((double)nodes->shown_total * fraction);
    size_t n = 0;

    for (size_t i = 0; i < nodes->n_nodes; i++)
        if (magnitude(nodes->nodes[i].cum) >= least)
            nodes->nodes[n++] = nodes->nodes[i];
    return n;
}

/* The smallest number in the table that is not 0. */
static int64_t smallest(const struct node *rows, size_t n_rows)
{
    uint64_t min = 0;

    for (size_t i = 0; i < n_rows; i++) {
        const uint64_t value = magnitude(rows[i].flat ? rows[i].flat : rows[i].cum);
        if (value && (min == 0 || value < min))
            min = value;
    }
    return min > INT64_MAX ? INT64_MAX : (int64_t)min;
}

static struct table choose_rows(const struct request *request, const struct profile *profile,
                                const struct profile_type *type, struct nodes *nodes)
{
    const size_t n_kept = keep_large(nodes, request->style->dropped_fraction);
    const bool is_cut = request->n_rows && request->n_rows < n_kept;
    const size_t n_rows = is_cut ? request->n_rows : n_kept;

    qsort(nodes->nodes, n_kept, sizeof *nodes->nodes,
          request->by_cum ? compare_cum : compare_flat);
    const int64_t min = smallest(nodes->nodes, n_rows);
    return (struct table){
        .request = request,
        .profile = profile,
        .type = type,
        .index = (size_t)(type - profile->types),
        .rows = nodes->nodes,
        .n_rows = n_rows,
        .n_kept = n_kept,
        .n_dropped = nodes->n_nodes - n_kept,
        .total = nodes->total,
        .unit = n_rows ? units_for_table(min, nodes->total, type->unit) : "auto",
    };
}

/* ---- printing ---- */

/* A line of the heading, its text from the file. */
static void put_line(const char *label, const char *text)
{
    fputs(label, stdout);
    verb_put_text(text, stdout);
    putchar('\n');
}

static void put_binary(const struct profile *profile)
{
    if (profile->n_mappings == 0)
        return;
    const char *slash = strrchr(profile->mappings[0].file, '/');
    const char *base = slash ? slash + 1 : profile->mappings[0].file;
    if (*base)
        put_line("File: ", base);
    if (*profile->mappings[0].build_id)
        put_line("Build ID: ", profile->mappings[0].build_id);
}

/* The agent writes "dropped: N reason"; nobody should miss that a profile is incomplete. */
static bool is_loss(const char *comment)
{
    const char *prefix = "dropped: ";

    return !strncmp(comment, prefix, strlen(prefix)) &&
           strtoll(comment + strlen(prefix), NULL, 10) > 0;
}

static void put_comments(const struct profile *profile, bool all)
{
    for (size_t i = 0; i < profile->n_comments; i++)
        if (all || is_loss(profile->comments[i]))
            put_line("", profile->comments[i]);
}

static void put_type(const struct table *table)
{
    put_line("Type: ", table->type->type);
}

static void put_time(const struct profile *profile)
{
    const time_t seconds = (time_t)(profile->time_ns / 1000000000);
    struct tm local;
    char text[80];

    if (profile->time_ns && localtime_r(&seconds, &local) &&
        strftime(text, sizeof text, "%b %-d, %Y at %-I:%M%P (%Z)", &local))
        put_line("Time: ", text);
}

static void put_duration(const struct table *table)
{
    char duration[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX], percent[UNITS_TEXT_MAX];
    const int64_t duration_ns = table->profile->duration_ns;

    if (duration_ns == 0)
        return;
    units_format(duration, duration_ns, "nanoseconds", "auto");
    units_format(total, table->total, table->type->unit, table->unit);
    printf("Duration: %s, Total samples = %s ", duration, total);
    const double total_ns = units_convert((double)table->total, table->type->unit, "ns");
    if (total_ns != 0) {
        units_percent(percent, (int64_t)total_ns, duration_ns);
        printf("(%s)", percent);
    }
    putchar('\n');
}

static bool is_waiting(const struct profile_sample *sample)
{
    for (size_t i = 0; i < sample->n_labels; i++)
        if (!strcmp(sample->labels[i].key, "state") && sample->labels[i].text &&
            !strcmp(sample->labels[i].text, "waiting"))
            return true;
    return false;
}

/* Of a block profile: waits that had not ended when it was taken. */
static void put_waiting(const struct table *table)
{
    char waiting[UNITS_TEXT_MAX], percent[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX];
    int64_t sum = 0;

    for (size_t i = 0; i < table->profile->n_samples; i++) {
        const struct profile_sample *sample = &table->profile->samples[i];
        if (is_waiting(sample) &&
            __builtin_add_overflow(sum, sample->values[table->index], &sum))
            return;
    }
    if (sum == 0)
        return;
    units_format(waiting, sum, table->type->unit, table->unit);
    units_percent(percent, sum, table->total);
    units_format(total, table->total, table->type->unit, table->unit);
    printf("Still waiting: %s, %s of %s total\n", waiting, percent + strspn(percent, " "),
           total);
}

static void put_filters(const struct filter_options *filter)
{
    if (!filter->focus && !filter->ignore && filter->n_tags == 0)
        return;
    puts("Active filters:");
    if (filter->focus)
        put_line("   focus=", filter->focus);
    if (filter->ignore)
        put_line("   ignore=", filter->ignore);
    for (size_t i = 0; i < filter->n_tags; i++)
        put_line("   tag ", filter->tags[i]);
}

static void put_summary(const struct table *table)
{
    char shown[UNITS_TEXT_MAX], percent[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX];
    int64_t flat = 0;

    for (size_t i = 0; i < table->n_rows; i++)
        if (__builtin_add_overflow(flat, table->rows[i].flat, &flat))
            break;
    units_format(shown, flat, table->type->unit, table->unit);
    units_percent(percent, flat, table->total);
    units_format(total, table->total, table->type->unit, table->unit);
    printf("Showing nodes accounting for %s, %s of %s total\n", shown,
           percent + strspn(percent, " "), total);
}

static void put_cuts(const struct table *table)
{
    const double least = (double)table->total * table->request->style->dropped_fraction;
    char text[UNITS_TEXT_MAX];

    units_format(text, (int64_t)least, table->type->unit, table->unit);
    if (table->n_dropped)
        printf("Dropped %zu node%s (cum <= %s)\n", table->n_dropped,
               table->n_dropped > 1 ? "s" : "", text);
    if (table->n_rows < table->n_kept)
        printf("Showing top %zu nodes out of %zu\n", table->n_rows, table->n_kept);
}

static void put_row(const struct table *table, const struct node *node, int64_t sum)
{
    char flat[UNITS_TEXT_MAX], flat_percent[UNITS_TEXT_MAX], sum_percent[UNITS_TEXT_MAX];
    char cum[UNITS_TEXT_MAX], cum_percent[UNITS_TEXT_MAX];

    units_format(flat, node->flat, table->type->unit, table->unit);
    units_percent(flat_percent, node->flat, table->total);
    units_percent(sum_percent, sum, table->total);
    units_format(cum, node->cum, table->type->unit, table->unit);
    units_percent(cum_percent, node->cum, table->total);
    printf("%10s %s %s %10s %s  ", flat, flat_percent, sum_percent, cum, cum_percent);
    verb_put_text(node->name, stdout);
    if (node->is_inlined)
        fputs(node->is_called ? " (partial-inline)" : " (inline)", stdout);
    putchar('\n');
}

/* What a name stands for: the two contention profiles have the same types, and only a comment of the agent's
 * tells holders from waiters. */
static const char *name_heading(const struct profile *profile)
{
    for (size_t i = 0; i < profile->n_comments; i++) {
        if (!strcmp(profile->comments[i], "profile: mutex"))
            return "  held by";
        if (!strcmp(profile->comments[i], "profile: block"))
            return "  waited in";
    }
    return "";
}

static void put_table(const struct table *table)
{
    const char *bold = verb_colours(stdout) ? "\033[1m" : "", *plain = *bold ? "\033[0m" : "";
    int64_t sum = 0;

    put_binary(table->profile);
    put_comments(table->profile, table->request->with_comments);
    put_type(table);
    put_time(table->profile);
    put_duration(table);
    put_waiting(table);
    put_filters(&table->request->filter);
    put_summary(table);
    put_cuts(table);
    printf("%s%10s %5s%% %5s%% %10s %5s%%%s%s\n", bold, "flat", "flat", "sum", "cum", "cum",
           name_heading(table->profile), plain);
    for (size_t i = 0; i < table->n_rows; i++) {
        if (__builtin_add_overflow(sum, table->rows[i].flat, &sum))
            sum = INT64_MAX;
        put_row(table, &table->rows[i], sum);
    }
}

/* ---- the verb ---- */

static int unknown_type(const struct request *request, const struct profile *profile)
{
    fprintf(stderr, "cprof: %s: %s has no sample type %s; it has:", request->style->verb,
            request->file, request->type);
    for (size_t i = 0; i < profile->n_types; i++) {
        fputc(' ', stderr);
        /* Every profile has types: NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        verb_put_text(profile->types[i].type, stderr);
    }
    fputc('\n', stderr);
    return STATUS_ERROR;
}

/* The type that -s names; NULL when there is none. */
static const struct profile_type *choose_type(const struct request *request,
                                              const struct profile *profile)
{
    char *end;

    if (!request->type)
        return &profile->types[profile->default_type];
    for (size_t i = 0; i < profile->n_types; i++)
        if (!strcmp(profile->types[i].type, request->type))
            return &profile->types[i];
    const unsigned long number = strtoul(request->type, &end, 10);
    return end != request->type && !*end && number < profile->n_types ? &profile->types[number]
                                                                      : NULL;
}

static void warn_of_mismatch(const struct request *request, const struct nodes *nodes)
{
    const char *verb = request->style->verb;

    if (request->filter.focus && !nodes->focus_met)
        verb_error(verb, "--focus %s matches no function", request->filter.focus);
    if (request->filter.ignore && !nodes->ignore_met)
        verb_error(verb, "--ignore %s matches no function", request->filter.ignore);
    if (request->filter.n_tags && !nodes->any_met)
        verb_error(verb, "no sample is left with these filters");
}

static int report(const struct request *request, const struct profile *profile)
{
    const char *verb = request->style->verb, *error;
    struct nodes nodes;

    const struct profile_type *type = choose_type(request, profile);
    if (!type)
        return unknown_type(request, profile);
    const size_t index = (size_t)(type - profile->types);
    if (nodes_init(&nodes, profile, index, &request->filter, &error) < 0) {
        nodes_done(&nodes);
        return verb_error(verb, "%s", error);
    }
    const struct table table = choose_rows(request, profile, type, &nodes);
    put_table(&table);
    warn_of_mismatch(request, &nodes);
    nodes_done(&nodes);
    return verb_done(verb, "go tool pprof -http=:", request->file);
}

static size_t parse_count(const char *text, struct argp_state *state)
{
    char *end;

    errno = 0;
    const unsigned long n = strtoul(text, &end, 10);
    if (errno || *end || end == text || *text == '-')
        argp_error(state, "-n %s: not a number of rows", text);
    return n;
}

static void add_tag(struct filter_options *filter, const char *tag, struct argp_state *state)
{
    if (!strchr(tag, '=') || *tag == '=')
        argp_error(state, "--tag %s: not KEY=VALUE", tag);
    filter->tags[filter->n_tags++] = tag;
}

enum { KEY_CUM = 256, KEY_FOCUS, KEY_IGNORE, KEY_TAG };

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct request *request = state->input;

    switch (key) {
    case 's': request->type = value; break;
    case 'n': request->n_rows = parse_count(value, state); break;
    case 'c': request->with_comments = true; break;
    case KEY_CUM: request->by_cum = true; break;
    case KEY_FOCUS: request->filter.focus = value; break;
    case KEY_IGNORE: request->filter.ignore = value; break;
    case KEY_TAG: add_tag(&request->filter, value, state); break;
    case ARGP_KEY_ARG:
        if (request->file)
            argp_error(state, "more than one file: %s", value);
        request->file = value;
        break;
    case ARGP_KEY_NO_ARGS: argp_error(state, "which FILE?"); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

int report_main(int argc, char **argv, const struct report_style *style)
{
    static const struct argp_option options[] = {
#define ROW(name, key, argument, help) {name, key, argument, 0, help, 0},
#include "cli/report.def"
#undef ROW
        {0},
    };
    const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "FILE", .doc = style->doc};
    struct request request = {.style = style, .n_rows = style->n_rows};
    struct profile profile;
    int status;

    request.filter.tags = calloc((size_t)argc, sizeof(char *)); /* as many as there can be */
    if (!request.filter.tags)
        return verb_error(style->verb, "%s", strerror(ENOMEM));
    argp_parse(&argp, argc, argv, 0, NULL, &request);
    if (profile_open(&profile, request.file) == 0)
        status = report(&request, &profile);
    else
        status = verb_error(style->verb, "%s: %s", request.file, profile.error);
    profile_done(&profile);
    free(request.filter.tags);
    return status;
}
