/* symbols - function names for locations, from ELF symbol tables.
 *
 * For each module with unnamed locations its file is read once (.symtab, else .dynsym), in blocks, with
 * pread: a file that shrinks under our feet gives wrong names at worst, never SIGBUS.  The locations are
 * sorted, the symbols are not: each symbol finds its locations by binary search, so the memory needed grows
 * with the locations, not with the program (node has 150 000 symbols).  Names are kept with the
 * location for ever, so later snapshots read only for what is new.
 *
 * A symbol covers [st_value, st_value + st_size) and nothing else; an address that no symbol covers
 * is named `libfoo.so+0x1234`.  A file whose build id is another than the one in memory is not believed.
 * Code outside of modules is looked up in /tmp/perf-PID.map.
 *
 * Only from the snapshot (one at a time). Signal-safe. */
#ifndef CPROF_AGENT_SYMBOLS_H
#define CPROF_AGENT_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#include "agent/locations.h"
#include "base/workspace.h"

/* Names ids[0..n), which have no name yet.  Reorders ids.  Where memory is out a location stays
 * unnamed; the caller shows a name of its own. */
void symbols_name(uint32_t *ids, size_t n, struct workspace *work);

/* The build id of the file, as hex with NUL; "" when it has none or cannot be read. */
enum { SYMBOLS_BUILD_ID_TEXT = 2 * 20 + 1 };
void symbols_read_build_id(const char *path, char ret_hex[SYMBOLS_BUILD_ID_TEXT]);
void symbols_build_id_text(const uint8_t *id, size_t size, char ret_hex[SYMBOLS_BUILD_ID_TEXT]);

#endif
