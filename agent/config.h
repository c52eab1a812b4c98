/* config - the settings: config.def, one line each.
 *
 * CPROF_<KEY>=value goes before CPROF=key=value,... (or CPROF=off), which goes before the lines of the
 * file CPROF_CONFIG.  A value that is not accepted is ignored and gives one line of log (a depth or a cap
 * out of range becomes the default); so do unknown keys, with the nearest known one, and profiles that are known and
 * not in profiles.def yet.  When no profile remains, `profiles` is 0.  CPROF_CONFIG names a regular file.
 *
 * Read once, in the constructor; constant afterwards.  Texts are copied, because programs overwrite
 * their environment.  The environment is read directly: programs bring their own getenv. */
#ifndef CPROF_AGENT_CONFIG_H
#define CPROF_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_profile {
    CONFIG_HEAP = 1 << 0, /* with allocs and heap_peak */
    CONFIG_THREADCREATE = 1 << 1,
    CONFIG_MUTEX = 1 << 2,
    CONFIG_BLOCK = 1 << 3,
    CONFIG_CONNECTION = 1 << 4,
    CONFIG_BLOB = 1 << 5,
    CONFIG_FD = 1 << 6,
    CONFIG_CPU = 1 << 7,
};

enum config_symbols { CONFIG_SYMBOLS_SYMTAB, CONFIG_SYMBOLS_OFF };

typedef uint64_t config_size;
typedef uint64_t config_ns;
typedef uint64_t config_count;
typedef bool config_flag;
typedef const char *config_text;
typedef uint32_t config_list; /* of enum config_profile */
typedef int config_signal;    /* number; 0: none */
typedef int config_symbols;
typedef int config_level; /* enum log_level */

struct config {
#define OPTION(type, field, by_default, name, help)       config_##type field;
#define OPTION_LATER(type, field, by_default, name, help) config_##type field;
#include "agent/config.def"
#undef OPTION
#undef OPTION_LATER
    bool is_off;         /* CPROF=off */
    const char *service; /* OTEL_SERVICE_NAME, or NULL */
};

/* Fills *config from the defaults and the environment, complains through log.  Returns the number
 * of complaints. Needs the arena. */
size_t config_read(struct config *config, const char *const *environment);

/* One value, as typed. 0, -EINVAL (not of this form), -ERANGE. */
int config_parse_size(const char *text, uint64_t *ret_bytes);
int config_parse_ns(const char *text, uint64_t *ret_ns);
int config_parse_signal(const char *text, int *ret_signal);
int config_parse_list(const char *text, uint32_t *ret_profiles);

/* True when CPROF_EXE (globs with commas between, !glob excludes) names the program `exe`. */
bool config_selects(const struct config *config, const char *exe);

/* The bit of enum config_profile that switches the profile `name` on; 0: none. */
uint32_t config_profile_bit(const char *name);

#endif
