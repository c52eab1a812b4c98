/* opened - the profiles of what is open: connection (sockets), blob (streams) and fd (all descriptors).
 *
 * Nothing is counted while the program runs; a snapshot looks up what is live (handles.h) and asks the kernel which
 * descriptors there are: what is gone is forgotten, what is there and was never seen is listed as [inherited]
 * (open when the agent came) or [untracked].  Sockets get their labels then, too: family, type, addresses, age; beyond the
 * first OPENED_DETAILED they are only counted, by stack.  fd gives the type of each descriptor.
 *
 * One at a time, with the snapshot. Signal-safe. */
#ifndef CPROF_AGENT_OPENED_H
#define CPROF_AGENT_OPENED_H

#include <stddef.h>
#include <stdint.h>

#include "agent/profile.h"

enum { OPENED_DETAILED = 10000 };

/* What is followed from now on (enum handles_kind); descriptors that are there already are [inherited]. */
void opened_set(uint32_t kinds);

/* ---- the profiles (profiles.def) ---- */

#define connection_period NULL
void connection_read(struct record *record, int64_t *ret_values);
#define connection_comment NULL
void connection_current(const struct profile_current *current);
size_t connection_current_max(void);

#define blob_period  NULL
#define blob_read    connection_read
#define blob_comment NULL
void blob_current(const struct profile_current *current);
size_t blob_current_max(void);

#define fd_period  NULL
#define fd_read    connection_read
#define fd_comment NULL
void fd_current(const struct profile_current *current);
size_t fd_current_max(void);
const char *fd_tag_text(uint64_t tag);

#endif
