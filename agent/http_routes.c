/* http_routes - see http_routes.h. */
#include "agent/http_routes.h"

#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/contention.h"
#include "agent/dump.h"
#include "agent/heap.h"
#include "agent/locations.h"
#include "agent/modules.h"
#include "agent/process.h"
#include "agent/snapshot.h"
#include "agent/symbols.h"
#include "agent/text_sink.h"
#include "agent/trigger.h"
#include "base/arena.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "encoder/legacy.h"

enum { SECONDS_MAX = 600, PREFIX_BYTES = 256 };

static struct {
    char prefix
        [PREFIX_BYTES]; /* begins with a slash and does not end with one; "" is the root */
    bool needs_loopback_host;
    bool has_cmdline;
    const char *hosts; /* CPROF_HTTP_HOSTS */
    const char *token;
    uint32_t profiles; /* what start starts */
} settings;

static const struct http_state *server; /* of the call that is under way */

static const char text_plain[] = "text/plain; charset=utf-8";
static const char text_html[] = "text/html; charset=utf-8";

/* ---- answers ---- */

static const struct {
    int status;
    const char *text;
} statuses[] = {
    {200, "OK"                             },
    {301, "Moved Permanently"              },
    {302, "Found"                          },
    {303, "See Other"                      },
    {400, "Bad Request"                    },
    {401, "Unauthorized"                   },
    {403, "Forbidden"                      },
    {404, "Not Found"                      },
    {405, "Method Not Allowed"             },
    {408, "Request Timeout"                },
    {413, "Request Entity Too Large"       },
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"          },
    {501, "Not Implemented"                },
    {503, "Service Unavailable"            },
    {505, "HTTP Version Not Supported"     },
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return "Unknown";
}

static void begin(struct http_exchange *exchange, int status, const char *type)
{
    exchange->status = status;
    exchange->type = type;
    text_init(&exchange->fields, exchange->fields_buffer, sizeof exchange->fields_buffer);
    blocks_drop(&exchange->answer);
    blocks_init(&exchange->answer);
}

static void add_field(struct http_exchange *exchange, const char *name, const char *value)
{
    text_addf(&exchange->fields, "%s: %s\r\n", name, value);
}

static void answer_text(struct http_exchange *exchange, int status, const char *text)
{
    begin(exchange, status, text_plain);
    add_field(exchange, "X-Content-Type-Options", "nosniff");
    sink_write(&exchange->answer.sink, text, strlen(text));
    sink_write(&exchange->answer.sink, "\n", 1);
}

void http_refuse(struct http_exchange *exchange, int status, const char *text)
{
    answer_text(exchange, status, text);
    add_field(exchange, "X-Go-Pprof", "1"); /* without it pprof does not show the text */
}

static void redirect(struct http_exchange *exchange, int status, const char *to)
{
    answer_text(exchange, status, http_status_text(status));
    add_field(exchange, "Location", to);
}

/* What a page may do: show itself, and post to where it came from. */
static void begin_page(struct http_exchange *exchange)
{
    begin(exchange, 200, text_html);
    add_field(exchange, "X-Content-Type-Options", "nosniff");
    add_field(exchange, "Content-Security-Policy",
              "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
              "form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
    add_field(exchange, "Referrer-Policy", "no-referrer");
}

/* ---- work that wants the turn ---- */

static void refuse_error(struct http_exchange *exchange, int err)
{
    switch (err) {
    case -ENOMEM: http_refuse(exchange, 503, arena_refusal()); break;
    case -EBUSY: http_refuse(exchange, 503, "the process is ending"); break;
    default: http_refuse(exchange, 500, text_errno(-err));
    }
}

static void run_work(void *arg)
{
    struct http_exchange *exchange = arg;
    const int err = exchange->work(exchange);

    if (err < 0)
        refuse_error(exchange, err);
}

static enum http_progress do_in_turn(struct http_exchange *exchange,
                                     int (*work)(struct http_exchange *exchange))
{
    exchange->work = work;
    const int err = trigger_try_run(run_work, exchange);
    if (err == -EAGAIN)
        return HTTP_WANTS_TURN;
    exchange->work = NULL;
    if (err < 0)
        refuse_error(exchange, err);
    return exchange->status ? HTTP_ANSWERED : HTTP_WANTS_TIME;
}

/* ---- profiles ---- */

struct scrape {
    const char *name, *profile;
    bool has_start;
    struct delta start;
    struct workspace work;
};
static struct scrape scrapes[] = {
    {.name = "delta_heap",  .profile = "heap" },
    {.name = "delta_block", .profile = "block"},
    {.name = "delta_mutex", .profile = "mutex"},
};

static int remember(const struct pprof_input *input, struct delta *ret_delta,
                    struct workspace *ret_work)
{
    int err = workspace_map(ret_work, delta_bytes(input));

    if (err == 0)
        err = delta_take(ret_delta, input, ret_work);
    if (err < 0)
        workspace_drop(ret_work);
    return err;
}

static int subtract(struct pprof_input *input, const struct delta *start)
{
    struct workspace work;
    int err = workspace_map(&work, delta_bytes(input));

    if (err < 0)
        return err;
    err = delta_subtract(input, start, &work);
    workspace_drop(&work);
    return err;
}

/* The whole becomes the difference to the last fetch, and the start of the next one. */
static int turn_scrape(struct pprof_input *input, struct scrape *scrape)
{
    struct workspace work;
    struct delta start;
    int err = remember(input, &start, &work);

    if (err < 0)
        return err;
    if (scrape->has_start)
        err = subtract(input, &scrape->start);
    else
        input->duration_ns = (int64_t)process_up_ns();
    workspace_drop(&scrape->work);
    scrape->start = start;
    scrape->work = work;
    scrape->has_start = true;
    return err;
}

static size_t bytes_to_write(const struct pprof_input *input, enum http_form form)
{
    switch (form) {
    case HTTP_AS_TEXT: return legacy_workspace_bytes(input);
    case HTTP_AS_FLAME: return http_flame_bytes(input);
    default: return pprof_workspace_bytes(input);
    }
}

static int write_form(struct http_exchange *exchange, const struct pprof_input *input,
                      struct workspace *work)
{
    struct sink *sink = &exchange->answer.sink;

    switch (exchange->form) {
    case HTTP_AS_TEXT: return legacy_write(input, exchange->profile->name, sink, work);
    case HTTP_AS_FLAME:
        return http_write_flame(sink, exchange->profile->name, exchange->request.query, input,
                                work);
    default: return pprof_encode(input, sink, work);
    }
}

/* Names that were made at run time may hold anything but white space. */
static void add_disposition(struct http_exchange *exchange)
{
    const char *name =
        exchange->scraped ? scrapes[exchange->scraped - 1].name : exchange->profile->name;

    text_add(&exchange->fields, "Content-Disposition: attachment; filename=\"");
    for (; *name; name++)
        text_add_char(&exchange->fields,
                      *name > ' ' && !strchr("\"\\/\x7f", *name) ? *name : '_');
    text_addf(&exchange->fields, "%s\"\r\n", exchange->seconds ? "-delta" : "");
}

static void begin_profile(struct http_exchange *exchange)
{
    if (exchange->form == HTTP_AS_FLAME) {
        begin_page(exchange);
        return;
    }
    begin(exchange, 200,
          exchange->form == HTTP_AS_TEXT ? text_plain : "application/octet-stream");
    add_field(exchange, "X-Content-Type-Options", "nosniff");
    if (exchange->form == HTTP_AS_PPROF)
        add_disposition(exchange);
}

static int write_profile(struct http_exchange *exchange, const struct pprof_input *input)
{
    struct workspace work;
    int err = workspace_map(&work, bytes_to_write(input, exchange->form));

    if (err < 0)
        return err;
    begin_profile(exchange);
    err = write_form(exchange, input, &work);
    workspace_drop(&work);
    return err;
}

/* One snapshot: the only one, or the first or the second of a delta. */
static int take_profile(struct http_exchange *exchange)
{
    struct snapshot_options options = *dump_options();
    struct snapshot snapshot;
    int err;

    options.use_symbols &= !exchange->wants_no_names || exchange->form != HTTP_AS_PPROF;
    if ((err = snapshot_take(&snapshot, exchange->profile, &options)) < 0)
        return err;
    if (exchange->seconds && !exchange->start_work.base) {
        err = remember(&snapshot.input, &exchange->start, &exchange->start_work);
        exchange->wake_ns = clock_mono_ns() + (uint64_t)exchange->seconds * 1000000000u;
        goto out;
    }
    if (exchange->seconds)
        err = subtract(&snapshot.input, &exchange->start);
    else if (exchange->scraped)
        err = turn_scrape(&snapshot.input, &scrapes[exchange->scraped - 1]);
    if (err == 0)
        err = write_profile(exchange, &snapshot.input);
out:
    snapshot_drop(&snapshot);
    return err;
}

/* As Go's strconv.Atoi, errors dropped. */
static int64_t number_of(const struct http_exchange *exchange, const char *name)
{
    char value[32];
    int64_t number = 0;

    if (!http_find_value(exchange->request.query, name, value, sizeof value) ||
        http_parse_int(value, &number) < 0)
        return 0;
    return number;
}

/* False: refused. */
static bool read_seconds(struct http_exchange *exchange, bool is_text)
{
    char value[32];

    http_find_value(exchange->request.query, "seconds", value, sizeof value);
    if (!*value)
        return true;
    if (http_parse_int(value, &exchange->seconds) < 0 || exchange->seconds <= 0)
        http_refuse(exchange, 400,
                    "invalid value for \"seconds\" - must be a positive integer");
    else if (exchange->seconds > SECONDS_MAX)
        http_refuse(exchange, 400, "invalid value for \"seconds\" - must be at most 600");
    else if (is_text)
        http_refuse(exchange, 400, "seconds and debug params are incompatible");
    return exchange->status == 0;
}

/* `name` behind the prefix; the profiles of CPU and threads will have their place here. */
static enum http_progress serve_profile(struct http_exchange *exchange, const char *name,
                                        enum http_form form)
{
    char value[16];

    for (size_t i = 0; i < COUNT_OF(scrapes) && form == HTTP_AS_PPROF; i++)
        if (strcmp(name, scrapes[i].name) == 0) {
            exchange->scraped = (int)i + 1;
            name = scrapes[i].profile;
        }
    exchange->profile = profile_find(name);
    if (!exchange->profile) {
        http_refuse(exchange, 404, "Unknown profile");
        return HTTP_ANSWERED;
    }
    const bool is_text = form == HTTP_AS_PPROF && number_of(exchange, "debug") != 0;
    exchange->form = is_text ? HTTP_AS_TEXT : form;
    if (!read_seconds(exchange, is_text))
        return HTTP_ANSWERED;
    http_find_value(exchange->request.query, "symbolize", value, sizeof value);
    exchange->wants_no_names = strcmp(value, "none") == 0;
    return do_in_turn(exchange, take_profile);
}

/* ---- pages ---- */

static int write_index(struct http_exchange *exchange)
{
    begin_page(exchange);
    return http_write_index(&exchange->answer.sink, server);
}

static int write_metrics(struct http_exchange *exchange)
{
    begin(exchange, 200, "text/plain; version=0.0.4; charset=utf-8");
    return http_write_metrics(&exchange->answer.sink, server);
}

/* ---- symbol ---- */

/* Addresses that no profile has shown become locations, which stay: so there is an end to them. */
enum { FOREIGN_MAX = 16 << 10 };

static const struct module *module_of(uintptr_t address, const struct module *last)
{
    if (last && address >= last->start && address < last->limit)
        return last;
    for (size_t i = modules_count(); i-- > 0;) {
        const struct module *module = modules_get((uint16_t)i);
        for (size_t k = 0; module && k < module->n_ranges; k++)
            if (address >= module->ranges[k].start && address < module->ranges[k].limit)
                return module;
    }
    return NULL;
}

static uint32_t location_at(uintptr_t address, const struct module *module)
{
    static uint32_t n_foreign;
    const uint32_t n_before = locations_count();

    if (!module || n_foreign >= FOREIGN_MAX)
        return 0;
    const uint32_t id = location_intern(address, module->id);
    n_foreign += locations_count() > n_before;
    return id;
}

/* 0x1234+0x5678: hexadecimal with 0x, else decimal, as in Go. The next one, or false: the end. */
static bool next_address(const char **at, uint64_t *ret_address)
{
    const char *word = *at;
    const size_t n = strcspn(word, "+");
    int err;

    *ret_address = 0;
    if (!*word)
        return false;
    *at += n + (word[n] == '+');
    if (word[0] == '0' && (word[1] | 32) == 'x') {
        const char *digits = word + 2;
        err = text_parse_hex(&digits, ret_address);
        err = err == 0 && digits == word + n ? 0 : -EINVAL;
    } else {
        const char *digits = word;
        err = text_parse_u64(&digits, ret_address);
        err = err == 0 && digits == word + n ? 0 : -EINVAL;
    }
    if (err < 0)
        *ret_address = 0;
    return true;
}

static void name_all(const uint32_t *ids, size_t n)
{
    struct workspace work;
    size_t n_unnamed = 0;

    if (!dump_options()->use_symbols || workspace_map(&work, n * 64 + (128 << 10)) < 0)
        return;
    uint32_t *unnamed = workspace_take_array(&work, n, sizeof *unnamed);
    for (size_t i = 0; i < n && unnamed; i++)
        if (ids[i] && !load_acquire(&location_get(ids[i])->name)) /* pairs with symbols.c */
            unnamed[n_unnamed++] = ids[i];
    if (n_unnamed)
        symbols_name(unnamed, n_unnamed, &work);
    workspace_drop(&work);
}

static void write_names(struct text_sink *out, const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct location *location = location_get(ids[i]);
        const char *name = location ? load_acquire(&location->name) : NULL; /* symbols.c */
        if (!name)
            continue;
        text_sink_addf(out, "0x%lx ", location->address);
        text_sink_add(out, name);
        text_sink_add(out, "\n");
    }
}

static int write_symbols(struct http_exchange *exchange)
{
    const char *words =
        exchange->request.method == HTTP_POST ? exchange->body : exchange->request.query;
    const struct module *module = NULL;
    struct workspace work;
    struct text_sink out;
    uint64_t address;
    size_t n = 0;

    int err = workspace_map(&work, (strlen(words) / 2 + 2) * sizeof(uint32_t));
    if (err < 0)
        return err;
    uint32_t *ids = (uint32_t *)(void *)work.base;
    for (const char *at = words; next_address(&at, &address);)
        if (address && (module = module_of(address, module)))
            ids[n++] = location_at(address, module);
    name_all(ids, n);
    begin(exchange, 200, text_plain);
    add_field(exchange, "X-Content-Type-Options", "nosniff");
    text_sink_init(&out, &exchange->answer.sink);
    text_sink_add(&out, "num_symbols: 1\n"); /* pprof only wants it not to be 0 */
    write_names(&out, ids, n);
    err = text_sink_finish(&out);
    workspace_drop(&work);
    return err;
}

/* ---- the command line ---- */

/* /proc ends each argument with a NUL, Go puts one between them. */
static void serve_cmdline(struct http_exchange *exchange)
{
    char buffer[4096];
    bool has_nul = false;
    ssize_t n;

    if (!settings.has_cmdline) {
        http_refuse(exchange, 403, "CPROF_HTTP_CMDLINE=0: the command line is not served");
        return;
    }
    begin(exchange, 200, text_plain);
    add_field(exchange, "X-Content-Type-Options", "nosniff");
    const int fd = sys_openat(AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    while ((n = sys_read(fd, buffer, sizeof buffer)) > 0) {
        if (has_nul)
            sink_write(&exchange->answer.sink, "", 1);
        has_nul = buffer[n - 1] == '\0';
        sink_write(&exchange->answer.sink, buffer, (size_t)n - has_nul);
    }
    sys_close(fd);
}

/* ---- side effects ---- */

/* A page of another site could post here, though it could not read the answer. */
static bool is_from_elsewhere(const struct http_request *request)
{
    const char *site = request->fetch_site, *origin = request->origin;

    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return true;
    if (!origin)
        return false;
    const char *host = strstr(origin, "://");
    return !host || !request->host || strcmp(host + 3, request->host) != 0;
}

struct rate {
    const char *name;
    uint32_t profile; /* of enum config_profile */
    int (*parse)(const char *text, uint64_t *ret_value);
    uint64_t (*now)(void);
    uint64_t (*set)(uint64_t rate);
};
static const struct rate rates[] = {
    {"heap",  CONFIG_HEAP,  config_parse_size, heap_rate,             heap_set_rate            },
    {"block", CONFIG_BLOCK, config_parse_ns,   contention_block_rate, contention_set_block_rate},
    {"mutex", CONFIG_MUTEX, config_parse_ns,   contention_mutex_rate, contention_set_mutex_rate},
};

/* *rate stays when it is not asked for.  False: refused. */
static bool read_rate(struct http_exchange *exchange, const struct rate *rate, uint64_t *value)
{
    char typed[32], line[128];
    const char *at = typed;
    struct text text;
    uint64_t number;

    if (!http_find_value(exchange->request.query, rate->name, typed, sizeof typed) &&
        !http_find_value(exchange->body, rate->name, typed, sizeof typed))
        return true;
    if ((text_parse_u64(&at, &number) == 0 && !*at) || rate->parse(typed, &number) == 0) {
        *value = number;
        return true;
    }
    text_init(&text, line, sizeof line);
    text_addf(&text, "invalid value for \"%s\" - must be a number, like 524288, 512k or 100us",
              rate->name);
    http_refuse(exchange, 400, line);
    return false;
}

/* A profile that is stopped is started by a rate, and stopped by 0. */
static void set_rate(const struct rate *rate, uint64_t value)
{
    if (value == 0) {
        agent_stop_profiles(rate->profile);
        return;
    }
    agent_start_profiles(rate->profile);
    rate->set(value);
}

static void answer_done(struct http_exchange *exchange, const char *text)
{
    char value[8];

    if (http_find_value(exchange->body, "back", value, sizeof value))
        redirect(exchange, 303, "./");
    else
        answer_text(exchange, 200, text);
}

static enum http_progress post_rate(struct http_exchange *exchange)
{
    uint64_t values[COUNT_OF(rates)];
    char line[160];
    struct text text;

    for (size_t i = 0; i < COUNT_OF(rates); i++) {
        values[i] = rates[i].now();
        if (!read_rate(exchange, &rates[i], &values[i]))
            return HTTP_ANSWERED;
    }
    text_init(&text, line, sizeof line);
    for (size_t i = 0; i < COUNT_OF(rates); i++) {
        if (values[i] != rates[i].now())
            set_rate(&rates[i], values[i]);
        text_addf(&text, "%s%s=%lu", i ? " " : "", rates[i].name, rates[i].now());
    }
    if (heap_rate() != values[0])
        http_refuse(exchange, 400,
                    "heap: too many different rates in the life of this process");
    else
        answer_done(exchange, line);
    return HTTP_ANSWERED;
}

static int write_files(struct http_exchange *exchange)
{
    const int n = trigger_write_files();
    char line[160];
    struct text text;

    text_init(&text, line, sizeof line);
    if (n < 0) {
        text_addf(&text, "snapshot: %s; not all profiles are written", text_errno(-n));
        http_refuse(exchange, 500, line);
    } else {
        text_addf(&text, n ? "snapshot written: %d file%s" : "no profile has samples", n,
                  n == 1 ? "" : "s");
        answer_done(exchange, line);
    }
    return 0;
}

static enum http_progress post_snapshot(struct http_exchange *exchange)
{
    return do_in_turn(exchange, write_files);
}

static enum http_progress post_start(struct http_exchange *exchange)
{
    agent_start_profiles(settings.profiles);
    answer_done(exchange, "started");
    return HTTP_ANSWERED;
}

static enum http_progress post_stop(struct http_exchange *exchange)
{
    agent_stop_profiles(~0u);
    answer_done(exchange, "stopped");
    return HTTP_ANSWERED;
}

struct post {
    const char *name;
    enum http_progress (*run)(struct http_exchange *exchange);
};
static const struct post posts[] = {
    {"rate",     post_rate    },
    {"snapshot", post_snapshot},
    {"start",    post_start   },
    {"stop",     post_stop    },
};

static void refuse_method(struct http_exchange *exchange, const char *allowed)
{
    http_refuse(exchange, 405, "Method Not Allowed");
    add_field(exchange, "Allow", allowed);
}

static const struct post *find_post(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(posts); i++)
        if (strcmp(name, posts[i].name) == 0)
            return &posts[i];
    return NULL;
}

static enum http_progress serve_post(struct http_exchange *exchange, const struct post *post)
{
    if (exchange->request.method == HTTP_POST && !is_from_elsewhere(&exchange->request))
        return post->run(exchange);
    if (exchange->request.method == HTTP_POST)
        http_refuse(exchange, 403, "posted from another site");
    else
        refuse_method(exchange, "POST");
    return HTTP_ANSWERED;
}

/* ---- who may ---- */

static bool may_ask(struct http_exchange *exchange)
{
    const struct http_request *request = &exchange->request;

    if (settings.needs_loopback_host && request->host &&
        !http_is_loopback_host(request->host) &&
        !http_is_listed_host(request->host, settings.hosts)) {
        http_refuse(exchange, 403,
                    "Host: only names of this machine's loopback and of CPROF_HTTP_HOSTS are "
                    "served");
        return false;
    }
    if (settings.token && !http_is_authorized(request->authorization, settings.token)) {
        http_refuse(exchange, 401, "the token is missing or wrong; send it as password");
        add_field(exchange, "WWW-Authenticate", "Basic realm=\"cprof\"");
        return false;
    }
    if (request->method == HTTP_OTHER) {
        refuse_method(exchange, "GET, HEAD, POST");
        return false;
    }
    return true;
}

/* ---- the way ---- */

/* pprof asks beside the profile: for a/b it is a/symbol. */
static bool is_symbol(const char *name)
{
    const char *slash = strrchr(name, '/');

    return strcmp(name, "symbol") == 0 ||
           (slash && strcmp(slash, "/symbol") == 0 && !profile_find(name));
}

static enum http_progress serve_name(struct http_exchange *exchange, const char *name)
{
    const struct post *post = find_post(name);

    if (!*name)
        return do_in_turn(exchange, write_index);
    if (post)
        return serve_post(exchange, post);
    if (strcmp(name, "cmdline") == 0) {
        serve_cmdline(exchange);
        return HTTP_ANSWERED;
    }
    if (strcmp(name, "metrics") == 0)
        return do_in_turn(exchange, write_metrics);
    if (text_starts_with(name, "flame/"))
        return serve_profile(exchange, name + strlen("flame/"), HTTP_AS_FLAME);
    if (is_symbol(name))
        return do_in_turn(exchange, write_symbols);
    return serve_profile(exchange, name, HTTP_AS_PPROF);
}

static enum http_progress serve_path(struct http_exchange *exchange)
{
    const char *path = exchange->request.path;
    const size_t n = strlen(settings.prefix);
    char to[PREFIX_BYTES + 2];
    struct text text;

    if (strcmp(path, "/metrics") == 0)
        return do_in_turn(exchange, write_metrics);
    if (strncmp(path, settings.prefix, n) == 0 && path[n] == '/')
        return serve_name(exchange, path + n + 1);
    text_init(&text, to, sizeof to);
    text_addf(&text, "%s/", settings.prefix);
    if (strcmp(path, settings.prefix) == 0)
        redirect(exchange, 301, to);
    else if (strcmp(path, "/") == 0)
        redirect(exchange, 302, to);
    else
        http_refuse(exchange, 404, "404 page not found");
    return HTTP_ANSWERED;
}

enum http_progress http_route(struct http_exchange *exchange, const struct http_state *state)
{
    struct http_state copy = *state;

    copy.has_cmdline = settings.has_cmdline;
    copy.host = exchange->request.host;
    copy.prefix = settings.prefix;
    server = &copy;
    const enum http_progress progress = exchange->work ? do_in_turn(exchange, exchange->work)
                                        : exchange->profile ? do_in_turn(exchange, take_profile)
                                        : may_ask(exchange) ? serve_path(exchange)
                                                            : HTTP_ANSWERED;
    server = NULL;
    return progress;
}

void http_exchange_drop(struct http_exchange *exchange)
{
    workspace_drop(&exchange->start_work);
    blocks_drop(&exchange->answer);
}

/* ---- settings ---- */

static void set_prefix(const char *typed)
{
    struct text text;

    text_init(&text, settings.prefix, sizeof settings.prefix);
    if (*typed && *typed != '/')
        text_add_char(&text, '/');
    text_add(&text, typed);
    while (text.size && text.data[text.size - 1] == '/')
        text.data[--text.size] = '\0';
    if (text.cut)
        log_warn("http: CPROF_HTTP_PREFIX=%s: %s; it is cut", typed, text_errno(ENAMETOOLONG));
}

void http_routes_init(const struct config *config, bool needs_loopback_host, const char *token)
{
    set_prefix(config->http_prefix);
    settings.has_cmdline = config->http_cmdline;
    settings.needs_loopback_host = needs_loopback_host;
    settings.hosts = config->http_hosts;
    settings.token = token;
    settings.profiles = config->profiles;
}
