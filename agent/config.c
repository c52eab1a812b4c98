/* config - see config.h. */
#include "agent/config.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "agent/process.h"
#include "agent/stack.h"
#include "base/arena.h"
#include "base/compiler.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

/* ---- values ---- */

struct unit {
    const char *text;
    uint64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units, size_t n_units,
                           uint64_t *ret_value)
{
    uint64_t value;
    const int err = text_parse_u64(&text, &value);

    if (err < 0)
        return err;
    for (size_t i = 0; i < n_units; i++) {
        if (strcmp(text, units[i].text) != 0)
            continue;
        return __builtin_mul_overflow(value, units[i].factor, ret_value) ? -ERANGE : 0;
    }
    return -EINVAL;
}

int config_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"",  1      },
        {"k", 1 << 10},
        {"K", 1 << 10},
        {"m", 1 << 20},
        {"M", 1 << 20},
        {"g", 1 << 30},
        {"G", 1 << 30},
    };
    return parse_with_unit(text, units, COUNT_OF(units), ret_bytes);
}

int config_parse_ns(const char *text, uint64_t *ret_ns)
{
    static const struct unit units[] = {
        {"ns", 1            },
        {"us", 1000         },
        {"ms", 1000000      },
        {"s",  1000000000   },
        {"m",  60000000000  },
        {"h",  3600000000000},
    };
    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return 0;
    }
    return parse_with_unit(text, units, COUNT_OF(units), ret_ns);
}

static int parse_number(const char *text, uint64_t *ret_value)
{
    static const struct unit units[] = {
        {"", 1}
    };

    return parse_with_unit(text, units, COUNT_OF(units), ret_value);
}

/* RTMIN+n and RTMAX-n count as the program does: libc keeps the first two real-time signals. */
int config_parse_signal(const char *text, int *ret_signal)
{
    static const struct {
        const char *name;
        int number;
    } names[] = {
        {"none",  0      },
        {"USR1",  SIGUSR1},
        {"USR2",  SIGUSR2},
        {"RTMIN", 34     },
        {"RTMAX", 64     }
    };
    uint64_t n;

    if (text_starts_with(text, "SIG"))
        text += 3;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(text, names[i].name) == 0) {
            *ret_signal = names[i].number;
            return 0;
        }
    }
    if (!text_starts_with(text, "RTMIN+") && !text_starts_with(text, "RTMAX-"))
        return -EINVAL;
    const int err = parse_number(text + 6, &n);
    if (err < 0 || n > 30)
        return -EINVAL;
    *ret_signal = text[5] == '+' ? 34 + (int)n : 64 - (int)n;
    return 0;
}

static const struct {
    const char *name;
    uint32_t bit;
} profile_names[] = {
    {"heap",         CONFIG_HEAP        },
    {"allocs",       CONFIG_HEAP        },
    {"heap_peak",    CONFIG_HEAP        },
    {"mutex",        CONFIG_MUTEX       },
    {"block",        CONFIG_BLOCK       },
    {"threadcreate", CONFIG_THREADCREATE},
    {"blob",         CONFIG_BLOB        },
    {"connection",   CONFIG_CONNECTION  },
    {"fd",           CONFIG_FD          },
    {"profile",      CONFIG_CPU         },
    {"all",          0xff               },
    {"none",         0                  },
};

static const char *const built_names[] = {
#define PROFILE(name, ...) #name,
#include "agent/profiles.def"
#undef PROFILE
};

enum {
    DEFAULT_PROFILES = CONFIG_HEAP | CONFIG_THREADCREATE | CONFIG_MUTEX | CONFIG_BLOCK |
                       CONFIG_CONNECTION | CONFIG_BLOB
};

static int find_profile(const char *text, size_t size, uint32_t *ret_bit)
{
    for (size_t i = 0; i < COUNT_OF(profile_names); i++) {
        const char *name = profile_names[i].name;
        if (strlen(name) == size && memcmp(name, text, size) == 0) {
            *ret_bit = profile_names[i].bit;
            return 0;
        }
    }
    return -EINVAL;
}

uint32_t config_profile_bit(const char *name)
{
    uint32_t bit = 0;

    find_profile(name, strlen(name), &bit);
    return bit;
}

static uint32_t built_profiles(void)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < COUNT_OF(built_names); i++)
        bits |= config_profile_bit(built_names[i]);
    return bits;
}

/* A list that begins with + or - changes the default, any other replaces it. */
int config_parse_list(const char *text, uint32_t *ret_profiles)
{
    uint32_t profiles = *text == '+' || *text == '-' ? DEFAULT_PROFILES : 0;

    while (*text) {
        const bool takes_off = *text == '-';
        uint32_t bit;
        text += *text == '+' || *text == '-';
        const size_t size = text_size_to(text, ',');
        const int err = find_profile(text, size, &bit);
        if (err < 0)
            return err;
        profiles = takes_off ? profiles & ~bit : profiles | bit;
        text += size;
        if (*text == ',' && !*++text)
            return -EINVAL;
    }
    *ret_profiles = profiles;
    return 0;
}

static int parse_word(const char *text, const char *const *words, size_t n, int *ret_word)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_word = (int)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* ---- one function per type of config.def ---- */

static int read_size(const char *text, config_size *ret)
{
    return config_parse_size(text, ret);
}

static int read_ns(const char *text, config_ns *ret)
{
    return config_parse_ns(text, ret);
}

static int read_count(const char *text, config_count *ret)
{
    return parse_number(text, ret);
}

static int read_flag(const char *text, config_flag *ret)
{
    static const char *const words[] = {"0", "1"};
    int word;
    const int err = parse_word(text, words, COUNT_OF(words), &word);

    if (err == 0)
        *ret = word;
    return err;
}

static int copy_text(const char *text, config_text *ret)
{
    const size_t size = strlen(text) + 1;
    char *copy = arena_alloc(size);

    if (!copy)
        return -ENOMEM;
    *ret = memcpy(copy, text, size);
    return 0;
}

static bool is_default(const char *text);

/* Defaults are constant and need no copy. */
static int read_text(const char *text, config_text *ret)
{
    if (!is_default(text))
        return copy_text(text, ret);
    *ret = text;
    return 0;
}

static int read_list(const char *text, config_list *ret)
{
    return config_parse_list(text, ret);
}

static int read_signal(const char *text, config_signal *ret)
{
    return config_parse_signal(text, ret);
}

static int read_symbols(const char *text, config_symbols *ret)
{
    static const char *const words[] = {"symtab", "off"};

    return parse_word(text, words, COUNT_OF(words), ret);
}

static int read_level(const char *text, config_level *ret)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};

    return parse_word(text, words, COUNT_OF(words), ret);
}

/* ---- the table ---- */

#define FORM_size    "bytes such as 64, 512k, 2m or 1g"
#define FORM_ns      "a time with its unit such as 1ns, 100us, 50ms, 10s or 5m, or 0"
#define FORM_count   "a whole number"
#define FORM_flag    "0 or 1"
#define FORM_text    "a text"
#define FORM_list    list_form
#define FORM_signal  "USR1, USR2, RTMIN+n, RTMAX-n or none"
#define FORM_symbols "symtab or off"
#define FORM_level   "error, warn, info or debug"

static const char list_form[] =
#define PROFILE(name, ...) #name ", "
#include "agent/profiles.def"
#undef PROFILE
    "all or none, also +name or -name, separated by commas";

struct option {
    const char *name; /* CPROF_KEY */
    const char *by_default;
    const char *form;
    bool is_built;
};

#define OPTION(type, field, by_default, name, help)       OPTION_(type, by_default, name, true)
#define OPTION_LATER(type, field, by_default, name, help) OPTION_(type, by_default, name, false)
#define OPTION_(type, by_default, name, is_built)         {name, by_default, FORM_##type, is_built},
static const struct option options[] = {
#include "agent/config.def"
};
#undef OPTION
#undef OPTION_LATER

static bool is_default(const char *text)
{
    for (size_t i = 0; i < COUNT_OF(options); i++)
        if (text == options[i].by_default)
            return true;
    return false;
}

/* The value of option number `index`; 0 or -errno. */
static int read_option(struct config *config, size_t index, const char *text)
{
    size_t i = 0;

#define OPTION(type, field, by_default, name, help) \
    if (i++ == index) \
        return read_##type(text, &config->field);
#define OPTION_LATER(type, field, by_default, name, help) \
    OPTION(type, field, by_default, name, help)
#include "agent/config.def"
#undef OPTION
#undef OPTION_LATER
    return -EINVAL;
}

/* ---- which programs ---- */

bool config_selects(const struct config *config, const char *exe)
{
    bool is_named = false, any_names = false;
    char glob[256];
    struct text text;

    for (const char *at = config->exe; *at; at += *at == ',') {
        const bool excludes = *at == '!';
        at += excludes;
        const size_t size = text_size_to(at, ',');
        text_init(&text, glob, sizeof glob);
        text_add_bytes(&text, at, size);
        const bool matches = text_glob(glob, exe);
        if (excludes && matches)
            return false;
        any_names |= !excludes;
        is_named |= !excludes && matches;
        at += size;
    }
    return is_named || !any_names;
}

/* ---- sources ---- */

struct reading {
    struct config *config;
    bool is_loud;
    size_t n_complaints;
    char profiles[128]; /* CPROF_PROFILES as typed; empty: the default */
};

__attribute__((format(printf, 2, 3))) static void complain(struct reading *reading,
                                                           const char *format, ...)
{
    char buffer[PATH_MAX];
    struct text text;
    va_list args;

    if (!reading->is_loud)
        return;
    text_init(&text, buffer, sizeof buffer);
    va_start(args, format);
    text_addv(&text, format, args);
    va_end(args);
    log_warn("config: %s", buffer);
    reading->n_complaints++;
}

/* `typed` is the name as the user wrote it. */
static void complain_unknown(struct reading *reading, const char *name, const char *typed)
{
    const char *nearest = options[0].name;

    for (size_t i = 1; i < COUNT_OF(options); i++)
        if (text_distance(name, options[i].name) < text_distance(name, nearest))
            nearest = options[i].name;
    complain(reading, "%s: unknown setting, ignored; did you mean %s?", typed, nearest);
}

/* The list that counts is known only when all sources are read: check_profiles(). */
static void remember_list(struct reading *reading, const struct option *option,
                          const char *text)
{
    struct text list;

    if (option->form != FORM_list)
        return;
    text_init(&list, reading->profiles, sizeof reading->profiles);
    if (strcmp(text, option->by_default) != 0)
        text_add(&list, *text ? text : "none");
}

static void set_option(struct reading *reading, const char *name, const char *typed,
                       const char *text)
{
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        const struct option *option = &options[i];
        if (strcmp(option->name, name) != 0)
            continue;
        const int err = read_option(reading->config, i, text);
        if (err < 0)
            complain(reading, "%s=%s: %s; accepted: %s; using the default %s", typed, text,
                     text_errno(-err), option->form,
                     *option->by_default ? option->by_default : "(none)");
        else if (!option->is_built)
            complain(reading, "%s=%s: not yet built; the setting has no effect", typed, text);
        else
            remember_list(reading, option, text);
        return;
    }
    complain_unknown(reading, name, typed);
}

/* key=value with the key in any case, at[0..size). */
static void set_pair(struct reading *reading, const char *at, size_t size)
{
    static const char prefix[] = "CPROF_";
    char pair[PATH_MAX + 64], typed[64];
    struct text text;

    text_init(&text, pair, sizeof pair);
    text_add(&text, prefix);
    text_add_bytes(&text, at, size);
    char *equals = strchr(pair, '=');
    if (!equals || text.cut) {
        complain(reading, "%s: not a setting; accepted: key=value", pair + strlen(prefix));
        return;
    }
    *equals = '\0';
    text_init(&text, typed, sizeof typed);
    text_add(&text, pair + strlen(prefix));
    for (char *c = pair; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    set_option(reading, pair, typed, equals + 1);
}

/* CPROF=key=value,key=value: a piece without '=' belongs to the value before it. */
static void read_shorthand(struct reading *reading, const char *at)
{
    if (strcmp(at, "off") == 0) {
        reading->config->is_off = true;
        return;
    }
    while (*at) {
        size_t size = text_size_to(at, ',');
        for (;;) {
            const char *next = at + size;
            if (*next != ',' || !next[1] || memchr(next + 1, '=', text_size_to(next + 1, ',')))
                break;
            size += 1 + text_size_to(next + 1, ',');
        }
        set_pair(reading, at, size);
        at += size;
        at += *at == ',';
    }
}

static void read_lines(struct reading *reading, const char *at)
{
    while (*at) {
        const size_t size = text_size_to(at, '\n');
        size_t begin = 0, end = size;
        while (begin < end && (at[begin] == ' ' || at[begin] == '\t'))
            begin++;
        while (end > begin &&
               (at[end - 1] == ' ' || at[end - 1] == '\t' || at[end - 1] == '\r'))
            end--;
        if (begin < end && at[begin] != '#')
            set_pair(reading, at + begin, end - begin);
        at += size;
        at += *at == '\n';
    }
}

static void read_file(struct reading *reading, const char *path)
{
    enum { FILE_BYTES_MAX = 64 << 10, FILE_BYTES = FILE_BYTES_MAX + 1 };
    char *data = arena_map(FILE_BYTES);
    const ssize_t n = data ? file_read_regular(path, data, FILE_BYTES) : -ENOMEM;

    if (n >= 0 && n < FILE_BYTES_MAX)
        read_lines(reading, data);
    else
        complain(reading, "CPROF_CONFIG=%s: %s; the file is ignored", path,
                 n < 0 ? file_error_text((int)n) : "64 KiB or larger");
    arena_unmap(data, FILE_BYTES);
}

static void read_environment(struct reading *reading, const char *const *environment)
{
    char name[64];
    struct text text;

    for (; *environment; environment++) {
        const char *entry = *environment;
        const char *equals = strchr(entry, '=');
        if (!equals || !text_starts_with(entry, "CPROF_"))
            continue;
        text_init(&text, name, sizeof name);
        text_add_bytes(&text, entry, (size_t)(equals - entry));
        if (strcmp(name, "CPROF_CONFIG") != 0)
            set_option(reading, name, name, equals + 1);
    }
}

/* Values that are well-formed and make no sense. */
static void check_ranges(struct reading *reading)
{
    enum { LEAST_MEMORY = 1 << 20 };
    struct config *config = reading->config;

    if (config->depth < 1 || config->depth > STACK_DEPTH_MAX) {
        complain(reading, "CPROF_DEPTH=%lu: %s; accepted: 1 to 1024; using the default 128",
                 config->depth, text_errno(ERANGE));
        config->depth = 128;
    }
    if (config->memory_bytes < LEAST_MEMORY) {
        complain(reading, "CPROF_MEMORY=%lu: %s; accepted: 1m and more; using the default 64m",
                 config->memory_bytes, text_errno(ERANGE));
        config->memory_bytes = 64 << 20;
    }
    if (config->keep < 1 || config->keep > 10000) {
        complain(reading, "CPROF_KEEP=%lu: %s; accepted: 1 to 10000; using the default 20",
                 config->keep, text_errno(ERANGE));
        config->keep = 20;
    }
}

/* The names of the list that are known and not built; what a - takes off does not matter. */
static void add_unbuilt(struct text *text, const char *list)
{
    const uint32_t built = built_profiles();

    while (*list) {
        const bool takes_off = *list == '-';
        uint32_t bit = 0;
        list += takes_off || *list == '+';
        const size_t size = text_size_to(list, ',');
        if (!takes_off && find_profile(list, size, &bit) == 0 && bit && !(bit & built)) {
            text_add(text, text->size ? ", " : "");
            text_add_bytes(text, list, size);
        }
        list += size;
        list += *list == ',';
    }
}

static void check_profiles(struct reading *reading)
{
    struct config *config = reading->config;
    const char *typed = reading->profiles;
    char unbuilt[sizeof reading->profiles * 2];
    struct text text;

    text_init(&text, unbuilt, sizeof unbuilt);
    add_unbuilt(&text, typed);
    if (!(config->profiles & built_profiles())) {
        config->profiles = 0;
        if (strcmp(typed, "none") != 0)
            complain(
                reading, "CPROF_PROFILES=%s: %s%s; nothing is collected and no file is written",
                typed, *unbuilt ? "not yet built: " : "takes off all that is built", unbuilt);
    } else if (*unbuilt) {
        complain(reading, "CPROF_PROFILES=%s: not yet built: %s; the others are collected",
                 typed, unbuilt);
    }
}

/* The file for the log, absolute, or NULL for stderr. */
static const char *find_log(struct reading *reading)
{
    const char *log = reading->config->log;
    char path[PATH_MAX * 2];
    struct text text;

    if (!*log || strcmp(log, "stderr") == 0 || *log == '/')
        return *log == '/' ? log : NULL;
    int err = process_directory(path);
    if (err == 0) {
        text_init(&text, path + strlen(path), sizeof path - strlen(path));
        text_addf(&text, "/%s", log);
        err = text.cut ? -ENAMETOOLONG : copy_text(path, &log);
    }
    if (err == 0)
        return log;
    complain(reading, "CPROF_LOG=%s: %s; using stderr", log, text_errno(-err));
    return NULL;
}

static const char *find(const char *const *environment, const char *name)
{
    return text_find_variable(environment, name, strlen(name));
}

static void read_sources(struct reading *reading, const char *const *environment)
{
    const char *value;

    if ((value = find(environment, "CPROF_CONFIG")) && *value)
        read_file(reading, value);
    if ((value = find(environment, "CPROF")))
        read_shorthand(reading, value);
    read_environment(reading, environment);
}

size_t config_read(struct config *config, const char *const *environment)
{
    struct reading reading = {.config = config};
    const char *value;

    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < COUNT_OF(options); i++)
        read_option(config, i, options[i].by_default);
    if ((value = find(environment, "OTEL_SERVICE_NAME")))
        copy_text(value, &config->service);

    /* Twice: where complaints go is a setting too. */
    read_sources(&reading, environment);
    reading.is_loud = true;
    log_configure((enum log_level)config->log_level, NULL);
    log_configure((enum log_level)config->log_level, find_log(&reading));
    read_sources(&reading, environment);
    check_ranges(&reading);
    check_profiles(&reading);
    return reading.n_complaints;
}
