/* config_fuzz - the settings, from an environment of the fuzzer's: one variable per line.
 *
 * Whatever stands there, the configuration that comes out must be one that the agent can run with. */
#include <stdlib.h>
#include <string.h>

#include "agent/config.h"
#include "agent/stack.h"
#include "base/arena.h"

enum { VARIABLES_MAX = 64, MEMORY_BYTES = 1 << 30 };

static void check(const struct config *config)
{
    if (config->depth < 1 || config->depth > STACK_DEPTH_MAX ||
        config->memory_bytes < 1 << 20 || config->signal < 0 || config->signal > 64 ||
        !config->out || !config->log || !config->labels)
        abort();
}

/* By its own variable or, in any case, among others in CPROF=: a file would be read, or made where the fuzzer stands. */
static bool names_a_file(const char *line)
{
    return strncmp(line, "CPROF_CONFIG=", 13) == 0 || strncmp(line, "CPROF_LOG=", 10) == 0 ||
           (strncmp(line, "CPROF=", 6) == 0 &&
            (strcasestr(line, "log") || strcasestr(line, "config")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    const char *environment[VARIABLES_MAX + 1];
    struct config config;
    size_t n = 0;

    arena_set_cap(MEMORY_BYTES, 0); /* log_init() is not called: nothing is printed */
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *line = strtok(text, "\n"); line && n < VARIABLES_MAX; line = strtok(NULL, "\n"))
        if (!names_a_file(line))
            environment[n++] = line;
    environment[n] = NULL;
    config_read(&config, environment);
    check(&config);
    free(text);
    return 0;
}
