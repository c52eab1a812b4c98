/* snapshot - a frozen copy of one profile, as plain data for the encoder.
 *
 * snapshot_take() copies the counters of every record once, then adds what the copies need and no more:
 * locations renumbered 1..N, their names, the mappings (the r-x lines of /proc/self/maps, plus ranges of unloaded
 * modules that still have locations).  Everything lies in memory of its own that snapshot_drop() gives back.
 * The program goes on meanwhile; a sample counted during the copy is in it or not, never half.
 *
 * One at a time (trigger.c's lock). Signal-safe; wants about 8 KiB of stack. */
#ifndef CPROF_AGENT_SNAPSHOT_H
#define CPROF_AGENT_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/profile.h"
#include "base/workspace.h"
#include "encoder/pprof.h"

struct snapshot_options {
    bool use_symbols;
    uint64_t min_age_s;  /* in-use values of objects at least that old; 0: of all */
    const char *host;    /* for the comments; NULL: unknown */
    const char *labels;  /* CPROF_LABELS, or "" */
    const char *service; /* OTEL_SERVICE_NAME, or NULL */
};

#define SNAPSHOT_TITLE "profile: %s" /* the first comment; block and mutex look alike */

struct snapshot {
    struct pprof_input input;
    struct workspace work; /* everything above */
};

/* 0, where the memory cap leaves little room with the later records' values under [overflow];
 * -ENOMEM: it leaves none. */
int snapshot_take(struct snapshot *ret_snapshot, const struct profile *profile,
                  const struct snapshot_options *options);
void snapshot_drop(struct snapshot *snapshot);

#endif
