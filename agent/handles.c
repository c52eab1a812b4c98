/* handles - see handles.h. */
#include "agent/handles.h"

#include <errno.h>

#include "agent/process.h"
#include "agent/sample.h"
#include "agent/stacktab.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/clock.h"

_Atomic uint32_t handles_on;
struct handle_slot *_Atomic handle_chunks[HANDLES_CHUNKS];
struct livetab handle_streams;

bool handles_are_borrowed(void)
{
    return unlikely(load_relaxed(&process_lends_memory)) && process_is_borrowed();
}

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

/* False: no memory. */
static bool set(int fd, const struct stack *stack, uint64_t born_s)
{
    struct handle_slot *slot = handles_slot((unsigned)fd);

    if (!slot && !(slot = add_chunk((unsigned)fd)))
        return false;
    store_relaxed(&slot->born_s, born_s);
    store_release(&slot->stack, (uintptr_t)stack); /* pairs with handles_get */
    return true;
}

struct handle handles_take(int fd)
{
    struct handle_slot *slot = handles_slot((unsigned)fd);
    struct handle handle = {0};

    if (!slot || !load_relaxed(&slot->stack) || handles_are_borrowed())
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
        else if (load_relaxed(&slot->stack))
            visit(slot, fd, arg);
    }
}

static void empty(struct handle_slot *slot, unsigned fd, void *arg)
{
    (void)fd;
    (void)arg;
    swap_acq_rel(&slot->stack, 0);
}

void handles_take_range(unsigned first, unsigned last)
{
    if (!handles_are_borrowed())
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

/* ---- recording ---- */

struct opened {
    struct sample sample;
    const int *fds;
    size_t n;
    const void *stream;
};

/* A slot that should be empty and is not: its close was unseen, or this is a child in borrowed memory. */
static bool add_descriptor(int fd, const struct stack *stack, uint64_t now_s)
{
    return fd < 0 || (handles_has(fd) && handles_are_borrowed()) || set(fd, stack, now_s);
}

static bool add_stream(const void *stream, const struct stack *stack, uint64_t now_s)
{
    uint64_t old;
    const enum livetab_put put = livetab_put(&handle_streams, (uintptr_t)stream,
                                             (uint64_t)(uintptr_t)stack, now_s, &old);

    return put == LIVETAB_NEW || put == LIVETAB_REPLACED;
}

static void use_stack(struct sample *sample, struct stack *stack)
{
    const struct opened *opened = (const void *)sample;
    const uint64_t now_s = clock_mono_s();
    bool is_kept = true;

    if (unlikely(stack == &stack_overflow))
        thread_count_drop(sample->source, DROP_OVERFLOW);
    for (size_t i = 0; i < opened->n; i++)
        is_kept &= add_descriptor(opened->fds[i], stack, now_s);
    if (opened->stream)
        is_kept &= add_stream(opened->stream, stack, now_s);
    if (unlikely(!is_kept))
        thread_count_drop(sample->source, DROP_HANDLE_FULL);
}

void handles_add_from(enum record_source source, const int *fds, size_t n, const void *stream,
                      const struct unwind_frame *from)
{
    const int saved_errno = errno;
    struct opened opened = {
        .sample = {.source = source, .use = use_stack, .from = from, .is_repeated = true},
        .fds = fds,
        .n = n,
        .stream = stream,
    };

    sample_take(&opened.sample);
    errno = saved_errno;
}

/* ---- streams ---- */

void handles_take_stream(const void *stream)
{
    uint64_t stack;

    livetab_take(&handle_streams, (uintptr_t)stream, &stack);
}

static void take_live(const struct live *live, void *arg)
{
    (void)arg;
    handles_take_stream(
        (const void *)live->address);  // NOLINT: an address as the table keeps it
}

void handles_take_streams(void)
{
    livetab_each(&handle_streams, clock_mono_s(), take_live, NULL);
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
