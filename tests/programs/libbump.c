/* An allocator that may be left by a siglongjmp at any instruction: one atomic addition, free does nothing. */
#include "victim.h"

enum { HEADER = 16 };
static char *arena;
static size_t used;
static const size_t arena_bytes = (size_t)64 << 30;

__attribute__((constructor)) static void arena_start(void)
{
    if (!arena)
        arena = mmap(NULL, arena_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void *bump(size_t size, size_t alignment)
{
    if (!arena)
        arena_start();
    if (size > arena_bytes / 2) {
        errno = ENOMEM;
        return NULL;
    }
    size_t at = __atomic_fetch_add(&used, size + 2 * HEADER + alignment, __ATOMIC_RELAXED);
    char *p = arena + at + HEADER;
    p += -(uintptr_t)p & (alignment - 1);
    *(size_t *)(p - HEADER) = size;
    return p;
}

void *malloc(size_t size)
{
    return bump(size, 16);
}

void *calloc(size_t n, size_t size)
{
    return bump(n * size, 16);
}

void *realloc(void *old, size_t size)
{
    void *p = bump(size, 16);
    if (old) {
        size_t had = *(size_t *)((char *)old - HEADER);
        memcpy(p, old, had < size ? had : size);
    }
    return p;
}

void *memalign(size_t alignment, size_t size)
{
    return bump(size, alignment < 16 ? 16 : alignment);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    *ret = memalign(alignment, size);
    return 0;
}

size_t malloc_usable_size(void *p)
{
    return p ? *(size_t *)((char *)p - HEADER) : 0;
}

void free(void *p)
{
    (void)p;
}
