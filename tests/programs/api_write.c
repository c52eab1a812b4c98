/* Writes every profile there is twice, as NAME.pb.gz and NAME.txt into the directory argv[1], while its own malloc and stdio may not
 * be called. */
#include "../../include/cprof.h"

#include <fcntl.h>

#include "victim.h"

static const char *directory;
static char path[4096];
static int n_mallocs;
static bool is_watched;

/* The loader finds these first, for libcprof.so's calls too.  The pool is zero, and nothing is used twice. */
void *malloc(size_t size)
{
    static char pool[1 << 22];
    static size_t used;
    char *p = pool + ((used + 15) & ~(size_t)15);

    n_mallocs += is_watched;
    used = (size_t)(p - pool) + size;
    check(used <= sizeof pool, "pool");
    return p;
}

void free(void *p)
{
    (void)p;
    n_mallocs += is_watched;
}

void *calloc(size_t n, size_t size)
{
    return malloc(n * size);
}

/* What follows `p` is in the pool, too. */
void *realloc(void *p, size_t size)
{
    void *fresh = malloc(size);
    return p ? memmove(fresh, p, size) : fresh;
}

static int open_for(const char *name, const char *suffix)
{
    snprintf(path, sizeof path, "%s/%s%s", directory, name, suffix);
    const int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    check(fd >= 0, path);
    return fd;
}

static void write_both(cprof_profile *profile, void *arg)
{
    static const char *const suffixes[] = {".pb.gz", ".txt"};

    (void)arg;
    for (int debug = 0; debug < 2; debug++) {
        const int fd = open_for(cprof_profile_name(profile), suffixes[debug]);
        is_watched = true;
        const int err = cprof_profile_write(profile, fd, debug);
        is_watched = false;
        if (err)
            printf("%s: %s\n", cprof_profile_name(profile), strerror(err));
        close(fd);
    }
}

NAMED void opens(cprof_profile *profile, uintptr_t value)
{
    check(cprof_profile_add(profile, (void *)value, 0) == 0, "add");
    KEEP(value);
}

NAMED void opens_two(cprof_profile *profile)
{
    opens(profile, 1);
    opens(profile, 2);
}

static void *thread(void *arg)
{
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t id;

    (void)argc;
    directory = argv[1];
    check(pthread_create(&id, NULL, thread, NULL) == 0 && pthread_join(id, NULL) == 0,
          "thread");
    cprof_profile *profile = cprof_profile_new("conn");
    opens_two(profile);
    opens(profile, 3);
    cprof_profile_new("unused");
    cprof_profiles(write_both, NULL);
    printf("calls of malloc and free: %d\n", n_mallocs);
    return 0;
}
