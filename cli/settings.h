/* settings - the agent's settings as options of the command: CPROF_HEAP_RATE is --heap-rate.
 *
 * The only place of cli/ that reads something of agent/: the table, which is data. */
#ifndef CPROF_CLI_SETTINGS_H
#define CPROF_CLI_SETTINGS_H

struct setting {
    const char *variable; /* "CPROF_HEAP_RATE" */
    const char *help;
};

#define SETTING(name, text)                        {.variable = (name), .help = (text)},
#define OPTION(type, field, value, variable, help) SETTING(variable, help)
#define OPTION_LATER(type, field, value, variable, help) \
    SETTING(variable, help " (not yet built)")
static const struct setting settings[] = {SETTING("CPROF_CONFIG", "file of settings, KEY=VALUE")
#include "agent/config.def"
};
#undef OPTION_LATER
#undef OPTION
#undef SETTING

#endif
