/* forwarder - a preload that only passes the calls of the heap and of mutexes on: the least that any wrapper can cost.
 *
 * Each pointer starts at a resolver, because ld.so calls malloc before any constructor has run. */
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

static void *resolve_malloc(size_t size);
static void *resolve_calloc(size_t n, size_t size);
static void *resolve_realloc(void *p, size_t size);
static void resolve_free(void *p);
static int resolve_lock(pthread_mutex_t *mutex);
static int resolve_unlock(pthread_mutex_t *mutex);

static void *(*real_malloc)(size_t) = resolve_malloc;
static void *(*real_calloc)(size_t, size_t) = resolve_calloc;
static void *(*real_realloc)(void *, size_t) = resolve_realloc;
static void (*real_free)(void *) = resolve_free;
static int (*real_lock)(pthread_mutex_t *) = resolve_lock;
static int (*real_unlock)(pthread_mutex_t *) = resolve_unlock;

static void __attribute__((constructor)) resolve(void)
{
    *(void **)&real_malloc = dlsym(RTLD_NEXT, "malloc");
    *(void **)&real_calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&real_realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&real_free = dlsym(RTLD_NEXT, "free");
    *(void **)&real_lock = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    *(void **)&real_unlock = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
}

static void *resolve_malloc(size_t size)
{
    resolve();
    return real_malloc(size);
}

static void *resolve_calloc(size_t n, size_t size)
{
    resolve();
    return real_calloc(n, size);
}

static void *resolve_realloc(void *p, size_t size)
{
    resolve();
    return real_realloc(p, size);
}

static void resolve_free(void *p)
{
    resolve();
    real_free(p);
}

static int resolve_lock(pthread_mutex_t *mutex)
{
    resolve();
    return real_lock(mutex);
}

static int resolve_unlock(pthread_mutex_t *mutex)
{
    resolve();
    return real_unlock(mutex);
}

EXPORT void *malloc(size_t size)
{
    return real_malloc(size);
}

EXPORT void *calloc(size_t n, size_t size)
{
    return real_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t size)
{
    return real_realloc(p, size);
}

EXPORT void free(void *p)
{
    real_free(p);
}

EXPORT int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    return real_lock(mutex);
}

EXPORT int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    return real_unlock(mutex);
}
