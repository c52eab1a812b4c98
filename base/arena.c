/* arena - see arena.h. */
#include "base/arena.h"

#include <errno.h>
#include <stdbool.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"

enum { CHUNK_BYTES = 128 << 10, PAGE_BYTES = 4096, LINE_BYTES = 64, WORD_BYTES = 16 };

struct chunk {
    _Atomic size_t used; /* bytes from the start of the chunk */
};

static _Atomic size_t cap;
static _Atomic size_t reserve; /* part of the cap, for jobs only */
static _Atomic size_t used;
static _Atomic uint64_t n_refused;
static _Atomic bool was_kernel; /* who refused last */
static struct chunk *_Atomic current;
static _Atomic uint32_t n_unmapped; /* what was done there comes before who maps it next */

void arena_set_cap(size_t cap_bytes, size_t reserve_bytes)
{
    store_relaxed(&cap, cap_bytes);
    store_relaxed(&reserve, reserve_bytes);
}

size_t arena_cap_bytes(void)
{
    return load_relaxed(&cap);
}

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) & ~(unit - 1);
}

static void *refuse(bool is_kernel)
{
    store_relaxed(&was_kernel, is_kernel);
    add_relaxed(&n_refused, 1);
    return NULL;
}

static void *map(size_t size, size_t limit)
{
    size = round_up(size, PAGE_BYTES);
    if (size == 0 || size > limit)
        return refuse(false);
    if (add_relaxed(&used, size) + size > limit) {
        sub_relaxed(&used, size);
        return refuse(false);
    }
    void *at = sys_mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_is_error(at)) {
        sub_relaxed(&used, size);
        return refuse(true);
    }
    (void)load_acquire(&n_unmapped); /* pairs with arena_unmap */
    return at;
}

void *arena_map(size_t size)
{
    return map(size, load_relaxed(&cap) - load_relaxed(&reserve));
}

void *arena_map_job(size_t size)
{
    return map(size, load_relaxed(&cap));
}

void arena_unmap(void *at, size_t size)
{
    if (!at)
        return;
    size = round_up(size, PAGE_BYTES);
    add_release(&n_unmapped, 1); /* pairs with map */
    sys_munmap(at, size);
    sub_relaxed(&used, size);
}

/* A new chunk whose first piece is the caller's; it becomes the current one unless another
 * thread was faster, then only the loser's piece is used of it. */
static COLD void *alloc_from_new_chunk(struct chunk *full, size_t size)
{
    struct chunk *chunk = arena_map(CHUNK_BYTES);

    if (!chunk)
        return NULL;
    store_relaxed(&chunk->used, LINE_BYTES + size);
    cas_acq_rel(&current, &full, chunk); /* pairs with load_acquire in arena_alloc */
    return (char *)chunk + LINE_BYTES;
}

void *arena_alloc(size_t size)
{
    const size_t unit = size < LINE_BYTES ? WORD_BYTES : LINE_BYTES;

    if (size > CHUNK_BYTES / 4)
        return arena_map(size);
    size = round_up(size, WORD_BYTES);

    struct chunk *chunk = load_acquire(&current); /* pairs with cas_acq_rel above */
    if (chunk) {
        size_t at = load_relaxed(&chunk->used), start;
        do {
            start = round_up(at, unit);
        } while (start + size <= CHUNK_BYTES && !cas_relaxed(&chunk->used, &at, start + size));
        if (start + size <= CHUNK_BYTES)
            return (char *)chunk + start;
    }
    return alloc_from_new_chunk(chunk, size);
}

size_t arena_used_bytes(void)
{
    return load_relaxed(&used);
}

uint64_t arena_n_refused(void)
{
    return load_relaxed(&n_refused);
}

const char *arena_refusal(void)
{
    return load_relaxed(&was_kernel) ? "mmap: the kernel has no memory or address space for it"
                                     : "CPROF_MEMORY: the cap leaves no room";
}

/* ---- workspaces ---- */

/* Forgotten first: a forked child drops what it finds. */
void workspace_drop(struct workspace *work)
{
    const struct workspace old = *work;

    *work = (struct workspace){0};
    atomic_signal_fence(memory_order_seq_cst);
    arena_unmap(old.base, old.size);
}

int workspace_map(struct workspace *ret_work, size_t size)
{
    *ret_work = (struct workspace){.base = arena_map_job(size), .size = size};
    return ret_work->base ? 0 : -ENOMEM;
}
