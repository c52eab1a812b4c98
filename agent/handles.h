/* handles - live descriptors and streams, and the stacks that opened them.
 *
 * Descriptors stand in an array by their number, in chunks that come when a number in them is first used: each slot
 * holds the stack that opened it and when.  Streams (FILE*) stand there, too, by the number of their descriptor; those
 * without one, or whose place is taken, in a livetab by their address.  No slot is counted anywhere: what is live is
 * looked up at the snapshot (opened.h).
 *
 * The kernel gives a closed number to the next thread that asks.  So a slot is emptied before the real close and
 * filled after the real open: nobody else looks at it in between.  What must be undone (a dup2 that fails) is put back
 * only where the slot is still empty.  glibc closes and opens inside itself, unseen: a slot may name a descriptor
 * that is gone, or one be open that has none; snapshots ask the kernel which are there.
 *
 * A vfork child shares this table but not the descriptors: it leaves the table alone (thread_is_borrowed).
 * Streams are memory, and what such a child closes is closed.
 *
 * Lock-free; any thread, signal-safe; errno is kept. */
#ifndef CPROF_AGENT_HANDLES_H
#define CPROF_AGENT_HANDLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source.h"
#include "agent/unwind.h"
#include "base/atomic.h"
#include "base/compiler.h"

struct stack;

/* What is followed, as bits. */
enum handles_kind {
    HANDLES_SOCKETS = 1 << 0, /* descriptors that are or may be sockets */
    HANDLES_ALL = 1 << 1,     /* every descriptor */
    HANDLES_STREAMS = 1 << 2,
    HANDLES_EVER = 1 << 3, /* something was followed once: closers still look */
    HANDLES_DESCRIPTORS = HANDLES_SOCKETS | HANDLES_ALL,
};

enum {
    HANDLES_CHUNK = 4096,
    HANDLES_CHUNKS = 1 << 14
}; /* Linux allows 2^30 descriptors, we 2^26 */

struct handle_slot {
    _Atomic uintptr_t stack; /* struct stack; 0: nothing is known */
    _Atomic uint64_t born_s; /* clock_mono_s(); 0: before the start */
    /* The stream on this number, which may outlive it: who has put it here takes it out. 0: none */
    _Atomic uintptr_t stream;
    _Atomic uintptr_t stream_stack; /* struct stack; 0: not yet there */
};

/* A slot's content, taken out. */
struct handle {
    uintptr_t stack;
    uint64_t born_s;
};

HIDDEN extern _Atomic uint32_t handles_on; /* enum handles_kind */
HIDDEN extern struct handle_slot *_Atomic handle_chunks[HANDLES_CHUNKS];

static inline bool handles_follow(uint32_t kinds)
{
    return load_relaxed(&handles_on) & kinds;
}

/* NULL: nothing was ever recorded near this number. */
static inline struct handle_slot *handles_slot(unsigned fd)
{
    struct handle_slot *chunk = likely(fd < (unsigned)HANDLES_CHUNK * HANDLES_CHUNKS)
                                    ? load_acquire(&handle_chunks[fd / HANDLES_CHUNK])
                                    : NULL; /* pairs with add_chunk */

    return chunk ? &chunk[fd % HANDLES_CHUNK] : NULL;
}

/* Does the table have it? */
static inline bool handles_has(int fd)
{
    struct handle_slot *slot = handles_slot((unsigned)fd);

    return slot && load_relaxed(&slot->stack);
}

/* ---- what the wrappers report ---- */

void handles_add_from(enum record_source source, const int *fds, size_t n,
                      const struct unwind_frame *from);
void handles_add_stream_from(const void *stream, int fd, bool is_new,
                             const struct unwind_frame *from);

/* The calling thread has opened these descriptors.  Inlined into the wrapper: each frame of the agent costs a step of
 * the walk. */
static inline __attribute__((always_inline)) void handles_add(enum record_source source,
                                                              const int *fds, size_t n)
{
    const struct unwind_frame from = unwind_here();

    handles_add_from(source, fds, n, &from);
}

/* A stream on this descriptor (or -1), which `is_new` as well and to be followed. */
static inline __attribute__((always_inline)) void handles_add_stream(const void *stream, int fd,
                                                                     bool is_new)
{
    const struct unwind_frame from = unwind_here();

    handles_add_stream_from(stream, fd, is_new, &from);
}

/* It is about to close this one, or all from first to last. */
struct handle handles_take(int fd);
void handles_take_range(unsigned first, unsigned last);
/* And did not. */
void handles_put_back(int fd, struct handle handle);

/* It is about to close this stream, whose descriptor was given when it was added, or all. */
void handles_take_stream(const void *stream, int fd);
void handles_take_streams(void);

/* ---- for the snapshot ---- */

/* What the table says of it; stack 0: nothing. */
struct handle handles_get(int fd);
/* The number is not open: forgets it, unless it was opened meanwhile. */
void handles_drop_ghost(int fd, struct handle handle);
/* Calls visit() for each number that the table has. */
void handles_each(void (*visit)(int fd, struct handle handle, void *arg), void *arg);

/* The same for each stream. */
void handles_each_stream(void (*visit)(uintptr_t stack, void *arg), void *arg);

/* Numbers for which the table has places, and streams beside them. */
uint64_t handles_n_places(void);
uint64_t handles_n_stream_places(void);

/* ---- control ---- */

/* This one was open before the agent came. */
void handles_add_inherited(int fd);

/* What is followed from now on. */
void handles_set(uint32_t kinds);

#endif
