/* mappings - the executable mappings of this process, as a profile lists them.
 *
 * Read from /proc/self/maps (raw, no stdio): every r-x line, adjacent pieces of one file put together,
 * the main executable first, " (deleted)" cut off.  Where /proc is not there the list is empty and
 * mappings_cover() fills it from the known modules.
 *
 * Only from the snapshot, but for mappings_find_file(). Signal-safe. */
#ifndef CPROF_AGENT_MAPPINGS_H
#define CPROF_AGENT_MAPPINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/locations.h"
#include "base/workspace.h"
#include "encoder/pprof.h"

struct mappings {
    struct pprof_mapping *list;
    size_t n, capacity;
    size_t n_lines; /* the first ones are the kernel's, the others were added */
    uint32_t *
        added; /* id of the mapping of range r of module m, at m * MODULE_RANGES_MAX + r; 0: none */
    size_t n_modules; /* that have a place in it */
};

/* 0 or -ENOMEM.  Has room for every range of the modules that are known now. */
int mappings_read(struct mappings *ret_mappings, struct workspace *work);

/* The file that is mapped at `address`, without " (deleted)".  False: none, or /proc is not there.
 * Signal-safe; any context with 9 KiB of stack. */
bool mappings_find_file(uintptr_t address, char *ret_path, size_t size);

/* Id (1..n) of the mapping that holds the location; one is added for code that is unloaded now.
 * 0: the address lies in nothing known. */
uint32_t mappings_cover(struct mappings *mappings, const struct location *location,
                        struct workspace *work);

#endif
