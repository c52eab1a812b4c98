/* Locks that go with what they guard: whoever unlocks last frees them, and only then the other one's unlock returns.
 *
 * drops_last_reference ROUNDS: `freed` per kind of lock
 *
 * needs: libslow_unlock
 * flags: -L@BUILT@ -l:libslow_unlock.so -Wl,-rpath,@BUILT@ */
#include <sched.h>
#include <threads.h>

#include "waiting.h"

/* One interface to a mutex, a C11 mutex, and a rwlock that is written or read. */
struct kind {
    const char *name;
    void (*init)(void *lock);
    void (*lock)(void *lock);
    void (*unlock)(void *lock);
    void (*destroy)(void *lock);
};

struct object {
    union {
        pthread_mutex_t mutex;
        mtx_t c11;
        pthread_rwlock_t rwlock;
    } lock;
    const struct kind *kind;
    int n_references;
};

static void init_mutex(void *lock)
{
    pthread_mutex_init(lock, NULL);
}
static void lock_mutex(void *lock)
{
    pthread_mutex_lock(lock);
}
static void unlock_mutex(void *lock)
{
    pthread_mutex_unlock(lock);
}
static void destroy_mutex(void *lock)
{
    pthread_mutex_destroy(lock);
}

static void init_c11(void *lock)
{
    mtx_init(lock, mtx_plain);
}
static void lock_c11(void *lock)
{
    mtx_lock(lock);
}
static void unlock_c11(void *lock)
{
    mtx_unlock(lock);
}
static void destroy_c11(void *lock)
{
    mtx_destroy(lock);
}

static void init_rwlock(void *lock)
{
    pthread_rwlock_init(lock, NULL);
}
static void write_rwlock(void *lock)
{
    pthread_rwlock_wrlock(lock);
}
static void unlock_rwlock(void *lock)
{
    pthread_rwlock_unlock(lock);
}
static void destroy_rwlock(void *lock)
{
    pthread_rwlock_destroy(lock);
}

static const struct kind kinds[] = {
    {"mutex",  init_mutex,  lock_mutex,   unlock_mutex,  destroy_mutex },
    {"c11",    init_c11,    lock_c11,     unlock_c11,    destroy_c11   },
    {"rwlock", init_rwlock, write_rwlock, unlock_rwlock, destroy_rwlock},
};

extern _Thread_local _Atomic bool *slow_unlock_until; /* libslow_unlock.c */

static atomic_tid waiter;
static _Atomic bool is_freed;

/* After the unlock it belongs to the other one, unless this was the last. */
NAMED static bool drops(struct object *object)
{
    const struct kind *kind = object->kind;

    kind->lock(&object->lock);
    const bool is_last = --object->n_references == 0;
    kind->unlock(&object->lock);
    if (is_last) {
        kind->destroy(&object->lock);
        memset(object, 0x5a, sizeof *object);
        free(object);
        atomic_store(&is_freed, true);
    }
    return is_last;
}

static void *drops_last(void *object)
{
    atomic_store(&waiter, (pid_t)syscall(SYS_gettid));
    check(drops(object), "the last one");
    return NULL;
}

/* Holds it until the other one waits for it. */
NAMED static void drops_first(struct object *object)
{
    const struct kind *kind = object->kind;
    pthread_t thread;

    kind->lock(&object->lock);
    atomic_store(&waiter, 0);
    check(!pthread_create(&thread, NULL, drops_last, object), "pthread_create");
    await_waiting(&waiter);
    object->n_references--;
    atomic_store(&is_freed, false);
    slow_unlock_until = &is_freed;
    kind->unlock(&object->lock);
    slow_unlock_until = NULL;
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    check(argc == 2, "usage: drops_last_reference ROUNDS");
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (int i = atoi(argv[1]); i > 0; i--) {
            struct object *object = malloc(sizeof *object);
            *object = (struct object){.kind = &kinds[k], .n_references = 2};
            kinds[k].init(&object->lock);
            drops_first(object);
        }
        printf("%s freed\n", kinds[k].name);
    }
    return 0;
}
