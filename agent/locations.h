/* locations - the set of distinct places in the code that stacks consist of.
 *
 * A location is (module, address), numbered from 1; 0 means none.  Its address lies inside the call
 * (return address - 1), or is that of an interrupted instruction.  The name is filled in by the first snapshot that shows it (symbols.h) and stays.
 *
 * Lock-free, signal-safe; never freed. */
#ifndef CPROF_AGENT_LOCATIONS_H
#define CPROF_AGENT_LOCATIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/trie.h"

struct location {
    struct trie_item item;
    uintptr_t address;
    uint32_t id;
    uint16_t module;          /* or MODULE_UNKNOWN */
    const char *_Atomic name; /* mangled; NULL: not looked up yet */
    _Atomic uint64_t offset; /* from the start of the function (pprof.h); set before the name */
};

/* Number of the location; 0: no memory. */
uint32_t location_intern(uintptr_t address, uint16_t module);
struct location *location_get(uint32_t id);
/* Numbers are 1..count. */
uint32_t locations_count(void);

#endif
