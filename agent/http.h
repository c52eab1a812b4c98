/* http - serves /debug/pprof/, when CPROF_HTTP says where.
 *
 * On the agent's thread (agent_thread.h): the listener and each of 8 connections is a work with a descriptor and
 * a deadline.  A connection reads one request, has it answered (http_routes.h), writes the answer and ends
 * ("Connection: close"): pprof opens a second connection while a first one is kept.  Nothing blocks; what takes
 * long is a snapshot, one at a time.
 *
 *   READ    head and body, 5 s in all; 8 KiB and 1 MiB
 *   ROUTE   until the answer is there; a client that goes away ends it
 *   WRITE   the answer, with a pause of at most 30 s
 *   DRAIN   what the client still sends is thrown away for 2 s: closing at once would destroy the answer on its way
 *
 * When all 8 places are taken the next clients wait in the kernel's queue; a client that has been sending its
 * request for over a second gives way to them, and at most 7 may wait for ?seconds=N.
 *
 * Memory: the arena, given back with the connection.  A forked child closes its copies and serves nothing. */
#ifndef CPROF_AGENT_HTTP_H
#define CPROF_AGENT_HTTP_H

#include <stdbool.h>

#include "agent/config.h"

/* Is there to be one? */
bool http_is_wanted(const struct config *config);

/* The agent's thread has ended for good: who connects is refused instead of waiting for it.  Signal-safe. */
void http_end(void);

/* From the constructor, after agent_thread_init(), trigger_init() and dump_init().  Says it when it cannot be. */
void http_init(const struct config *config);

#endif
