/* legacy - a frozen profile as text: the older formats that people read and `go tool pprof` still takes.
 *
 * Three grammars, chosen by the profile's types: heap (inuse_space), contention (delay), and counts for all the rest:
 *     NAME profile: total 3
 *     2 @ 0x401136 0x401176
 *     #	0x401136	open_it+0x16	/usr/bin/server
 * Values are those of the pprof file, so the headers say that nothing has to be scaled (heap/2, sampling period=1).
 * Readers take addresses for return addresses and subtract 1, so 1 is added; a pseudo frame is 0x1, because
 * a record without any address makes them refuse the file.  Largest values first.  The mappings end it.
 *
 * Pure: no globals, no locks, no malloc; all memory comes from the workspace.  Signal-safe. */
#ifndef CPROF_ENCODER_LEGACY_H
#define CPROF_ENCODER_LEGACY_H

#include "base/sink.h"
#include "base/workspace.h"
#include "encoder/pprof.h"

size_t legacy_workspace_bytes(const struct pprof_input *input);

/* 0; -ENOMEM: the workspace is too small; or the sink's error. */
int legacy_write(const struct pprof_input *input, const char *name, struct sink *sink,
                 struct workspace *work);

#endif
