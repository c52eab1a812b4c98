/* labels - what a program says of its threads: key and value, shown with the samples of the moment.
 *
 * A label is an interned pair of texts, never changed and never freed; a thread's record (thread.h) points to up to
 * four of them.  The owner stores a pointer, a snapshot reads it: whole or not at all.  A handler that sets a key
 * which its thread is just setting may take a second place for it; the first one is shown.
 *
 * Any thread, signal-safe. */
#ifndef CPROF_AGENT_LABELS_H
#define CPROF_AGENT_LABELS_H

#include <stdint.h>

#include "encoder/pprof.h"

enum { LABELS_PER_THREAD = 4, LABEL_BYTES_MAX = 255 };

struct label;
struct thread;

/* The calling thread's label `key` becomes `value`; NULL: it has none.  0 or an errno value: EINVAL (NULL, empty, over
 * 255 bytes, or a key that the agent uses), ENOSPC (four others), ENOMEM. */
int labels_set(const char *key, const char *value);

/* Those of a thread into ret_labels[LABELS_PER_THREAD]; how many. */
uint32_t labels_of(const struct thread *thread, struct pprof_label *ret_labels);

/* For the next owner of the record. */
void labels_forget(struct thread *thread);

#endif
