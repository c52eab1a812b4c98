/* log - the agent's voice: lines that start with `cprof`, on stderr or in a file.
 *
 * A line says subject, object, reason and consequence:
 *     cprof: dump: /var/tmp/prof: No space left on device; this snapshot is lost
 * In a log file (CPROF_LOG) it carries pid and level as well: `cprof[4242]: warn: dump: ...`.
 * A log file that cannot be opened is said once on stderr, where its lines go then.
 * stderr is written only while it is still the stderr of the start (device and inode), because
 * daemons give descriptor 2 to something else.  No descriptor stays open.  Neither a pipe without a
 * reader nor a file over its limit stops or kills the program.
 *
 * Only agent/ logs; leaf code returns errors.  Signal-safe once log_init() has run. */
#ifndef CPROF_BASE_LOG_H
#define CPROF_BASE_LOG_H

#include <stdbool.h>

#include "base/atomic.h"
#include "base/compiler.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Remembers what descriptor 2 is now. */
void log_init(void);

/* path: absolute, kept by the caller for ever; NULL: stderr. */
void log_configure(enum log_level level, const char *path);

void log_line(enum log_level level, const char *format, ...) PRINTF(2, 3);

#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)

/* Once per place in the source and process. */
#define log_warn_once(...) \
    do { \
        static _Atomic bool said; \
        if (!swap_acq_rel(&said, true)) \
            log_warn(__VA_ARGS__); \
    } while (0)

#endif
