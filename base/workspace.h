/* workspace - a borrowed piece of memory, handed out front to back.
 *
 * The caller owns [base, base + size); workspace_take() cuts aligned, zeroed pieces from
 * it and nothing is ever given back singly: the owner unmaps the whole.  So code that must not
 * call malloc (encoder, snapshot) still has dynamic memory, and what it may use is bounded.
 *
 * Not thread-safe: one workspace belongs to one job.  Signal-safe. */
#ifndef CPROF_BASE_WORKSPACE_H
#define CPROF_BASE_WORKSPACE_H

#include <stddef.h>
#include <stdint.h>

struct workspace {
    char *base; /* zeroed by its owner, aligned to 16 */
    size_t size;
    size_t used;
};

/* `size` zeroed bytes aligned to 16, or NULL when the workspace is used up. */
static inline void *workspace_take(struct workspace *work, size_t size)
{
    const size_t room = work->size - work->used;
    const size_t rounded = (size + 15) & ~(size_t)15;

    if (rounded < size || rounded > room)
        return NULL;
    void *piece = work->base + work->used;
    work->used += rounded;
    return piece;
}

/* The same for `n` elements of `size` bytes; NULL also when n * size overflows. */
static inline void *workspace_take_array(struct workspace *work, size_t n, size_t size)
{
    size_t bytes;

    return __builtin_mul_overflow(n, size, &bytes) ? NULL : workspace_take(work, bytes);
}

#endif
