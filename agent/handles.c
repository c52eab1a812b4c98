/* handles - see handles.h. */
#include "agent/handles.h"

#include "agent/livetab.h"
#include "agent/sample.h"
#include "agent/stacktab.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/clock.h"

_Atomic uint32_t handles_on;
struct handle_slot *_Atomic handle_chunks[HANDLES_CHUNKS] LARGE;

static struct livetab other_streams; /* address -> struct stack */

/* ---- slots ---- */

static COLD struct handle_slot *add_chunk(unsigned fd)
{
    enum { BYTES = HANDLES_CHUNK * sizeof(struct handle_slot) };
    struct handle_slot *none = NULL, *fresh;

    if (fd >= (unsigned)HANDLES_CHUNK * HANDLES_CHUNKS || !(fresh = arena_map(BYTES)))
        return NULL;
    if (!cas_acq_rel(&handle_chunks[fd / HANDLES_CHUNK], &none, fresh)) {
        arena_unmap(fresh, BYTES);
        fresh = none;
    }
    return &fresh[fd % HANDLES_CHUNK];
}

/* NULL: no memory, or no number. */
static inline struct handle_slot *slot_for(int fd)
{
    struct handle_slot *slot = handles_slot((unsigned)fd);

    return likely(slot != NULL) ? slot : add_chunk((unsigned)fd);
}

/* False: no memory. */
static bool set(int fd, const struct stack *stack, uint64_t born_s)
{
    struct handle_slot *slot = slot_for(fd);

    if (!slot)
        return false;
    store_relaxed(&slot->born_s, born_s);
    store_release(&slot->stack, (uintptr_t)stack); /* pairs with handles_get */
    return true;
}

struct handle handles_take(int fd)
{
    struct handle_slot *slot = handles_slot((unsigned)fd);
    struct handle handle = {0};

    if (!slot || !load_relaxed(&slot->stack) || thread_is_borrowed())
        return handle;
    handle.born_s = load_relaxed(&slot->born_s);
    handle.stack = swap_acq_rel(&slot->stack, 0);
    return handle;
}

void handles_put_back(int fd, struct handle handle)
{
    struct handle_slot *slot = handles_slot((unsigned)fd);
    uintptr_t none = 0;

    if (handle.stack && slot && cas_acq_rel(&slot->stack, &none, handle.stack))
        store_relaxed(&slot->born_s, handle.born_s);
}

/* ---- ranges ---- */

static void each_in(unsigned first, unsigned last,
                    void (*visit)(struct handle_slot *slot, unsigned fd, void *arg), void *arg)
{
    const unsigned top = (unsigned)HANDLES_CHUNK * HANDLES_CHUNKS - 1;
    struct handle_slot *slot;

    last = last < top ? last : top;
    for (unsigned fd = first; fd <= last; fd++) {
        if (!(slot = handles_slot(fd)))
            fd |= HANDLES_CHUNK - 1; /* the rest of its chunk is not there either */
        else
            visit(slot, fd, arg);
    }
}

static void empty(struct handle_slot *slot, unsigned fd, void *arg)
{
    (void)fd;
    (void)arg;
    if (load_relaxed(&slot->stack))
        swap_acq_rel(&slot->stack, 0);
}

void handles_take_range(unsigned first, unsigned last)
{
    if (!thread_is_borrowed())
        each_in(first, last, empty, NULL);
}

/* ---- what the snapshot reads ---- */

struct handle handles_get(int fd)
{
    struct handle_slot *slot = handles_slot((unsigned)fd);
    struct handle handle = {0};

    if (slot) {
        handle.stack = load_acquire(&slot->stack); /* pairs with set */
        handle.born_s = load_relaxed(&slot->born_s);
    }
    return handle;
}

void handles_drop_ghost(int fd, struct handle handle)
{
    struct handle_slot *slot = handles_slot((unsigned)fd);

    if (slot && load_relaxed(&slot->born_s) == handle.born_s)
        cas_acq_rel(&slot->stack, &handle.stack, 0);
}

struct visitor {
    void (*visit)(int fd, struct handle handle, void *arg);
    void *arg;
};

static void visit_slot(struct handle_slot *slot, unsigned fd, void *arg)
{
    const struct visitor *visitor = arg;
    const struct handle handle = {load_acquire(&slot->stack), load_relaxed(&slot->born_s)};

    if (handle.stack)
        visitor->visit((int)fd, handle, visitor->arg);
}

void handles_each(void (*visit)(int fd, struct handle handle, void *arg), void *arg)
{
    struct visitor visitor = {visit, arg};

    each_in(0, UINT32_MAX, visit_slot, &visitor);
}

/* ---- streams ---- */

/* The kernel gives a new stream a number of its own, so its place is free, unless the number was closed behind the back of
 * the stream before, several share it, or this is a child in borrowed memory. */
static bool add_stream(const void *stream, int fd, const struct stack *stack)
{
    struct handle_slot *slot = fd >= 0 ? slot_for(fd) : NULL;
    uintptr_t there = 0;
    uint64_t old;

    if (slot &&
        (cas_acq_rel(&slot->stream, &there, (uintptr_t)stream) || there == (uintptr_t)stream)) {
        store_release(&slot->stream_stack, (uintptr_t)stack); /* pairs with visit_stream */
        return true;
    }
    const enum livetab_put put =
        livetab_put(&other_streams, (uintptr_t)stream, (uint64_t)(uintptr_t)stack, 0, &old);
    return put == LIVETAB_NEW || put == LIVETAB_REPLACED;
}

static void empty_of_stream(struct handle_slot *slot)
{
    store_relaxed(&slot->stream_stack, 0);
    store_release(&slot->stream, 0); /* pairs with add_stream's CAS */
}

void handles_take_stream(const void *stream, int fd)
{
    struct handle_slot *slot = handles_slot((unsigned)fd);
    uint64_t stack;

    if (likely(slot && load_relaxed(&slot->stream) == (uintptr_t)stream))
        empty_of_stream(slot);
    else
        livetab_take(&other_streams, (uintptr_t)stream, &stack);
}

struct stream_visitor {
    void (*visit)(uintptr_t stack, void *arg);
    void *arg;
};

static void visit_stream(struct handle_slot *slot, unsigned fd, void *arg)
{
    const struct stream_visitor *visitor = arg;
    const uintptr_t stack = load_acquire(&slot->stream_stack); /* pairs with add_stream */

    (void)fd;
    if (stack)
        visitor->visit(stack, visitor->arg);
}

static void visit_other_stream(const struct live *live, void *arg)
{
    const struct stream_visitor *visitor = arg;

    visitor->visit(live->value, visitor->arg);
}

void handles_each_stream(void (*visit)(uintptr_t stack, void *arg), void *arg)
{
    struct stream_visitor visitor = {visit, arg};

    each_in(0, UINT32_MAX, visit_stream, &visitor);
    livetab_each(&other_streams, 0, visit_other_stream, &visitor);
}

static void take_at(struct handle_slot *slot, unsigned fd, void *arg)
{
    (void)fd;
    (void)arg;
    if (load_relaxed(&slot->stream))
        empty_of_stream(slot);
}

static void take_other(const struct live *live, void *arg)
{
    uint64_t stack;

    (void)arg;
    livetab_take(&other_streams, live->address, &stack);
}

void handles_take_streams(void)
{
    each_in(0, UINT32_MAX, take_at, NULL);
    livetab_each(&other_streams, 0, take_other, NULL);
}

/* ---- recording ---- */

struct opened {
    struct sample sample;
    const int *fds;
    size_t n;           /* of them that are new */
    const void *stream; /* on the first, which may be -1 */
};

/* A slot that should be empty and is not: its close was unseen, or this is a child in borrowed memory. */
static bool add_descriptor(int fd, const struct stack *stack, uint64_t now_s)
{
    return fd < 0 || (handles_has(fd) && thread_is_borrowed()) || set(fd, stack, now_s);
}

static inline void count_if_lost(const struct sample *sample, const struct stack *stack,
                                 bool is_kept)
{
    if (unlikely(stack == &stack_overflow))
        thread_count_drop(sample->source, DROP_OVERFLOW);
    if (unlikely(!is_kept))
        thread_count_drop(sample->source, DROP_HANDLE_FULL);
}

static void use_for_descriptors(struct sample *sample, struct stack *stack)
{
    const struct opened *opened = (const void *)sample;
    const uint64_t now_s = clock_mono_s();
    bool is_kept = true;

    for (size_t i = 0; i < opened->n; i++)
        is_kept &= add_descriptor(opened->fds[i], stack, now_s);
    count_if_lost(sample, stack, is_kept);
}

static void use_for_stream(struct sample *sample, struct stack *stack)
{
    const struct opened *opened = (const void *)sample;
    bool is_kept = add_stream(opened->stream, opened->fds[0], stack);

    if (unlikely(opened->n))
        is_kept &= add_descriptor(opened->fds[0], stack, clock_mono_s());
    count_if_lost(sample, stack, is_kept);
}

void handles_add_from(enum record_source source, const int *fds, size_t n,
                      const struct unwind_frame *from)
{
    struct opened opened = {
        .sample = {.source = source,
                   .use = use_for_descriptors,
                   .from = from,
                   .is_repeated = true},
        .fds = fds,
        .n = n,
    };

    sample_take(&opened.sample);
}

void handles_add_stream_from(const void *stream, int fd, bool is_new,
                             const struct unwind_frame *from)
{
    struct opened opened = {
        .sample = {.source = SOURCE_BLOB,
                   .use = use_for_stream,
                   .from = from,
                   .is_repeated = true},
        .fds = &fd,
        .n = is_new,
        .stream = stream,
    };

    sample_take(&opened.sample);
}

/* ---- its size ---- */

uint64_t handles_n_places(void)
{
    uint64_t n = 0;

    for (size_t i = 0; i < HANDLES_CHUNKS; i++)
        n += load_relaxed(&handle_chunks[i]) ? HANDLES_CHUNK : 0;
    return n;
}

uint64_t handles_n_stream_places(void)
{
    return livetab_n_places(&other_streams);
}

/* ---- control ---- */

void handles_add_inherited(int fd)
{
    set(fd, &stack_inherited, 0);
}

void handles_set(uint32_t kinds)
{
    const uint32_t ever = kinds || handles_follow(HANDLES_EVER) ? HANDLES_EVER : 0;

    store_relaxed(&handles_on, kinds | ever);
}
