/* malloc - the allocation functions of libc, C names only: C++'s new and Rust's allocator end here.
 *
 * Each wrapper tests whether this call is a sample, which it nearly never is, and jumps on into the real
 * function.  Else the function below it calls the real one and reports to heap.  Return values, errno and
 * alignment are the real function's. */
#include <errno.h>
#include <string.h>

#include "agent/heap.h"
#include "base/bypass.h"
#include "base/compiler.h"
#include "base/real.h"

/* ---- getting ---- */

static COLD void *malloc_sampled(size_t size)
{
    const struct heap_due due = heap_on_due(size);
    void *p = real.malloc(size);

    heap_on_alloc(p, size, due);
    return p;
}

EXPORT HOT void *malloc(size_t size)
{
    if (unlikely(heap_sample_due(size)))
        return malloc_sampled(size);
    return real.malloc(size);
}

static COLD void *calloc_sampled(size_t n, size_t size)
{
    const struct heap_due due = heap_on_due(n * size);
    void *p = real.calloc(n, size);

    heap_on_alloc(p, n * size, due);
    return p;
}

EXPORT HOT void *calloc(size_t n, size_t size)
{
    /* An overflowing product makes the real function fail; counting it does no harm. */
    if (unlikely(heap_sample_due(n * size)))
        return calloc_sampled(n, size);
    return real.calloc(n, size);
}

static COLD int posix_memalign_sampled(void **ret_p, size_t alignment, size_t size)
{
    const struct heap_due due = heap_on_due(size);
    const int err = real.posix_memalign(ret_p, alignment, size);

    heap_on_alloc(err == 0 ? *ret_p : NULL, size, due);
    return err;
}

EXPORT int posix_memalign(void **ret_p, size_t alignment, size_t size)
{
    if (unlikely(heap_sample_due(size)))
        return posix_memalign_sampled(ret_p, alignment, size);
    return real.posix_memalign(ret_p, alignment, size);
}

static COLD void *aligned_alloc_sampled(size_t alignment, size_t size)
{
    const struct heap_due due = heap_on_due(size);
    void *p = real.aligned_alloc(alignment, size);

    heap_on_alloc(p, size, due);
    return p;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    if (unlikely(heap_sample_due(size)))
        return aligned_alloc_sampled(alignment, size);
    return real.aligned_alloc(alignment, size);
}

static COLD void *memalign_sampled(size_t alignment, size_t size)
{
    const struct heap_due due = heap_on_due(size);
    void *p = real.memalign(alignment, size);

    heap_on_alloc(p, size, due);
    return p;
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    if (unlikely(heap_sample_due(size)))
        return memalign_sampled(alignment, size);
    return real.memalign(alignment, size);
}

static COLD void *valloc_sampled(size_t size)
{
    const struct heap_due due = heap_on_due(size);
    void *p = real.valloc(size);

    heap_on_alloc(p, size, due);
    return p;
}

EXPORT void *valloc(size_t size)
{
    if (unlikely(heap_sample_due(size)))
        return valloc_sampled(size);
    return real.valloc(size);
}

static COLD void *pvalloc_sampled(size_t size)
{
    const struct heap_due due = heap_on_due(size);
    void *p = real.pvalloc(size);

    heap_on_alloc(p, size, due);
    return p;
}

EXPORT void *pvalloc(size_t size)
{
    if (unlikely(heap_sample_due(size)))
        return pvalloc_sampled(size);
    return real.pvalloc(size);
}

/* ---- changing ---- */

/* A block that was handed out while the real functions were being looked up moves away. */
static COLD void *realloc_early(void *p, size_t size)
{
    const size_t old_size = real_early_size(p);
    void *q = real.malloc(size);

    return q ? memcpy(q, p, old_size < size ? old_size : size) : NULL;
}

/* The object is out of the table while the real function decides: another thread may be given its
 * address as soon as that has freed it.  A realloc to 0 that returns NULL has freed it. */
static COLD void *realloc_tracked(void *p, size_t size, bool is_due)
{
    const struct heap_due none = {0}, due = is_due ? heap_on_due(size) : none;

    if (real_is_early(p))
        return realloc_early(p, size);
    const struct heap_taken taken = heap_take(p);
    void *q = real.realloc(p, size);
    if (!q && size && p)
        heap_put_back(p, taken);
    else
        heap_on_free_taken(taken);
    heap_on_alloc(q, size, due);
    return q;
}

EXPORT HOT void *realloc(void *p, size_t size)
{
    const bool is_due = heap_sample_due(size);

    if (unlikely(is_due || heap_may_be_tracked(p)))
        return realloc_tracked(p, size, is_due);
    return real.realloc(p, size);
}

EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
    size_t bytes;

    if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, bytes);
}

/* ---- giving back: out of the table first, since the address may be given out again at once ---- */

static COLD void free_tracked(void *p)
{
    if (unlikely(real_is_early(p)))
        return;
    heap_on_free(p);
    real.free(p);
}

EXPORT HOT void free(void *p)
{
    if (unlikely(heap_may_be_tracked(p)))
        free_tracked(p);
    else
        real.free(p);
}

EXPORT void cfree(void *p)
{
    free(p);
}

static COLD void free_sized_tracked(void *p, size_t size)
{
    if (unlikely(real_is_early(p)))
        return;
    heap_on_free(p);
    real.free_sized(p, size);
}

EXPORT void free_sized(void *p, size_t size)
{
    if (!real.free_sized) /* a libc before C23 */
        free(p);
    else if (unlikely(heap_may_be_tracked(p)))
        free_sized_tracked(p, size);
    else
        real.free_sized(p, size);
}

static COLD void free_aligned_sized_tracked(void *p, size_t alignment, size_t size)
{
    if (unlikely(real_is_early(p)))
        return;
    heap_on_free(p);
    real.free_aligned_sized(p, alignment, size);
}

EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size)
{
    if (!real.free_aligned_sized)
        free(p);
    else if (unlikely(heap_may_be_tracked(p)))
        free_aligned_sized_tracked(p, alignment, size);
    else
        real.free_aligned_sized(p, alignment, size);
}

/* ---- asking ---- */

EXPORT size_t malloc_usable_size(void *p)
{
    return unlikely(real_is_early(p)) ? real_early_size(p) : real.malloc_usable_size(p);
}

BYPASS(malloc);
BYPASS(calloc);
BYPASS(free);
