/* arena - all memory of the agent: mmap, never malloc, under one hard cap.
 *
 * Two sizes of service.  arena_map() gives whole pages of their own and takes them back.
 * arena_alloc() cuts small pieces from 128 KiB chunks; pieces are never given back, so what it
 * returns stays valid for the life of the process.  Both count against the cap: over it they
 * return NULL and the refusal is counted; the caller drops its work and says so.
 *
 * Lock-free: a piece is taken with one CAS, a chunk is published with one CAS.  A fork in
 * the middle loses at most one piece.  Any thread, signal-safe. */
#ifndef CPROF_BASE_ARENA_H
#define CPROF_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/workspace.h"

/* Before the first call the cap is 0 and everything is refused.  `reserve_bytes` of it are kept for
 * arena_map_job(), so that what was collected can still be written when the tables are full. */
void arena_set_cap(size_t cap_bytes, size_t reserve_bytes);
size_t arena_cap_bytes(void);

/* `size` zeroed bytes aligned to 16, from 64 bytes on to 64; or NULL. */
void *arena_alloc(size_t size);

/* `size` bytes, rounded up to pages, zeroed, untouched until used; or NULL. */
void *arena_map(size_t size);
/* The same for a job that gives it back when it is done: may use the reserve. */
void *arena_map_job(size_t size);
void arena_unmap(void *at, size_t size);

/* A job's workspace. -ENOMEM: there is none, and nothing to drop. */
int workspace_map(struct workspace *ret_work, size_t size);
void workspace_drop(struct workspace *work);

/* Bytes mapped now; calls that the cap or the kernel refused so far. */
size_t arena_used_bytes(void);
uint64_t arena_n_refused(void);
/* What the last one was, for a message: "object: reason". */
const char *arena_refusal(void);

#endif
