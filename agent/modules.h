/* modules - the loaded objects that program counters lie in.
 *
 * An append-only table of immutable records (path, build id, load bias, r-x ranges).  A module is found by
 * address through glibc's _dl_find_object(): no lock, no callback, callable anywhere.  Its data is then read
 * from its own headers in memory, while a frame of it is on the caller's stack and keeps it loaded.
 *
 * Only unloading makes a known address mean something else.  So dlclose is watched: before and after it the
 * epoch is raised, after which every module is looked up again before it is believed, and a range that went
 * away and came back with other contents becomes a new module.  (A module that comes back at the same
 * place with the same path and build id is the same module: plugin reloads cost nothing.)
 *
 * Lock-free, signal-safe. */
#ifndef CPROF_AGENT_MODULES_H
#define CPROF_AGENT_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"

enum { MODULE_RANGES_MAX = 4, MODULE_BUILD_ID_BYTES = 20, MODULES_MAX = 4096 };

/* Ids in stacks. */
enum { MODULE_UNKNOWN = 0xffff }; /* no loaded object: JIT code, or gone already */

struct module_range {
    uintptr_t start, limit; /* pages mapped r-x */
    uint64_t file_offset;
};

struct module {
    uint16_t id; /* position in the table */
    uint8_t n_ranges;
    uint8_t build_id_size; /* 0: none */
    uint8_t build_id[MODULE_BUILD_ID_BYTES];
    struct module_range ranges[MODULE_RANGES_MAX];
    uintptr_t bias;         /* address in memory - address in the file's headers */
    uintptr_t start, limit; /* of everything */
    const char *path;       /* absolute where the loader says so; never NULL */
    const char *_Atomic
        file; /* where the kernel says it is, if path is not absolute; NULL: not asked */
    _Atomic uint32_t epoch; /* in which it was last seen loaded */
};

/* Once, from the constructor. */
void modules_init(void);
/* Path of the main executable, also when the loader was started with its name. */
const char *modules_main_path(void);

/* The module that holds `pc` now, added when it is new; NULL: none, or the table is full (counted as
 * DROP_MODULES) or memory is out.  `pc` must come from the caller's own stack: that keeps the module loaded while it is read. */
const struct module *modules_find(uintptr_t pc);
const struct module *modules_get(uint16_t id);
size_t modules_count(void);
/* Objects that found the table full, about. */
uint64_t modules_n_refused(void);

/* True when nothing was unloaded since the module was last seen loaded. */
bool modules_is_current(const struct module *module);

/* True when both addresses lie in the same loaded object. */
bool modules_is_same_object(const void *a, const void *b);

/* Raised by every unload. */
HIDDEN extern _Atomic uint32_t modules_now;
static inline uint32_t modules_epoch(void)
{
    return load_acquire(&modules_now); /* pairs with modules_on_unload */
}
/* Something is about to be unloaded, or was just now. */
void modules_on_unload(void);

/* The kernel says that the module is mapped from `file`: kept where the loader has no absolute path
 * (dlopen("./plugin.so")).  From the snapshot. */
void modules_set_file(uint16_t id, const char *file);

/* The path under which to look for the module's file; relative when nothing better is known. */
const char *module_file(const struct module *module);
/* The base name of a module's path. */
const char *module_name(const struct module *module);

#endif
