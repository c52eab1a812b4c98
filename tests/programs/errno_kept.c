/* Calls every allocation function many times with a strange errno and prints what each returned and left in errno. */
#include <dlfcn.h>

#include "victim.h"

enum { STRANGE = 4242, N = 3000 };

static int n_changed;

/* Prints a line when this function's last call went otherwise. */
static void result(const char *what, bool succeeded, int err)
{
    static struct {
        const char *what;
        int now, err, succeeded;
    } seen[128];
    int now = errno, i = 0;
    while (seen[i].what && strcmp(seen[i].what, what))
        i++;
    if (!seen[i].what || seen[i].now != now || seen[i].err != err ||
        seen[i].succeeded != succeeded)
        printf("%s: %s, returned %d, errno %d\n", what, succeeded ? "ok" : "failed", err, now);
    seen[i].what = what, seen[i].now = now, seen[i].err = err, seen[i].succeeded = succeeded;
    if (succeeded && now != STRANGE)
        n_changed++;
}

#define SUCCEEDS(what, expression) \
    for (int i = 0; i < N; i++) { \
        errno = STRANGE; \
        void *p = expression; \
        KEEP(p); \
        result(what, p != NULL, 0); \
        errno = STRANGE; \
        free(p); \
        result("free after " what, true, 0); \
    }

#define FAILS(what, expression) \
    for (int i = 0; i < 3; i++) { \
        errno = STRANGE; \
        void *p = expression; \
        KEEP(p); \
        result(what, p != NULL, 0); \
    }

/* glibc has the sized ones from 2.43 on, and cfree no more; the agent has all of them. */
NAMED void frees_by_other_names(void)
{
    void (*const by_name)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "cfree");
    void (*const sized)(void *, size_t) =
        (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    void (*const aligned)(void *, size_t, size_t) =
        (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");

    for (int i = 0; i < 3 * N; i++) {
        void *p = i % 3 == 2 ? aligned_alloc(64, opaque(640)) : malloc(opaque(640));
        KEEP(p);
        errno = STRANGE;
        if (i % 3 == 0 && by_name)
            by_name(p);
        else if (i % 3 == 1 && sized)
            sized(p, 640);
        else if (i % 3 == 2 && aligned)
            aligned(p, 64, 640);
        else
            free(p);
        result("free by another name", true, 0);
    }
}

int main(void)
{
    const size_t huge = opaque(SIZE_MAX / 2);
    static char buffer[65536];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);

    SUCCEEDS("malloc", malloc(opaque(1000)))
    SUCCEEDS("malloc of 300000", malloc(opaque(300000)))
    SUCCEEDS("malloc of 0", malloc(opaque(0)))
    SUCCEEDS("calloc", calloc(opaque(100), 10))
    SUCCEEDS("realloc of NULL", realloc(NULL, opaque(1000)))
    SUCCEEDS("realloc", realloc(malloc(opaque(10)), opaque(3000)))
    SUCCEEDS("realloc of 300000", realloc(malloc(opaque(200000)), opaque(300000)))
    SUCCEEDS("reallocarray", reallocarray(malloc(opaque(10)), opaque(100), 10))
    SUCCEEDS("aligned_alloc", aligned_alloc(64, opaque(640)))
    SUCCEEDS("memalign", memalign(256, opaque(1000)))
    SUCCEEDS("valloc", valloc(opaque(1000)))
    SUCCEEDS("pvalloc", pvalloc(opaque(1000)))
    frees_by_other_names();
    for (int i = 0; i < N; i++) {
        void *p = NULL;
        errno = STRANGE;
        int err = posix_memalign(&p, 64, opaque(1000));
        KEEP(p);
        result("posix_memalign", err == 0, err);
        errno = STRANGE;
        size_t usable = malloc_usable_size(p);
        result("malloc_usable_size", usable >= 1000, 0);
        free(p);
    }
    for (int i = 0; i < N; i++) {
        void *p = malloc(opaque(50));
        KEEP(p);
        errno = STRANGE;
        p = realloc(p, opaque(0));
        result("realloc to 0", p == NULL, 0);
    }
    errno = STRANGE;
    free(NULL);
    result("free of NULL", true, 0);
    errno = STRANGE;
    result("malloc_usable_size of NULL", malloc_usable_size(NULL) == 0, 0);

    void *old = malloc(opaque(100));
    FAILS("malloc, huge", malloc(huge))
    FAILS("calloc, huge", calloc(huge, 1))
    FAILS("calloc, overflow", calloc(huge, 4))
    FAILS("realloc of NULL, huge", realloc(NULL, huge))
    FAILS("realloc, huge", realloc(old, huge))
    FAILS("reallocarray, overflow", reallocarray(old, huge, 4))
    FAILS("reallocarray, huge", reallocarray(old, huge, 1))
    FAILS("aligned_alloc, huge", aligned_alloc(64, huge))
    FAILS("memalign, huge", memalign(64, huge))
    FAILS("memalign, wild alignment", memalign(huge + 3, opaque(10)))
    FAILS("valloc, huge", valloc(huge))
    FAILS("pvalloc, huge", pvalloc(opaque(SIZE_MAX - 100)))
    free(old);
    static const size_t alignments[] = {0, 1, 3, 4, 24, 100};
    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
        void *p = (void *)&p;
        errno = STRANGE;
        int err = posix_memalign(&p, opaque(alignments[i]), opaque(10));
        result("posix_memalign, bad alignment", false, err);
        check(p == (void *)&p, "posix_memalign changed its argument");
    }
    void *p = NULL;
    errno = STRANGE;
    int err = posix_memalign(&p, 64, huge);
    result("posix_memalign, huge", false, err);
    printf("%d calls that succeeded changed errno\n", n_changed);
    return 0;
}
