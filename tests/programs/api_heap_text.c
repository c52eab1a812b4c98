/* Allocates, makes a thread wait, and writes heap, allocs, heap_peak and block as pprof file and as text into argv[1]; then
 * changes the heap's rate. */
#include "../../include/cprof.h"

#include <fcntl.h>

#include "waiting.h"

NAMED void *keeps(size_t size)
{
    void *p = malloc(size);
    KEEP(p);
    return p;
}

NAMED void *drops(size_t size)
{
    void *p = malloc(size);
    KEEP(p);
    return p;
}

static atomic_tid main_tid;

static void *ends_when_awaited(void *arg)
{
    await_waiting(&main_tid);
    return arg;
}

static void write_both(const char *directory, const char *name)
{
    char path[4096];

    for (int debug = 0; debug < 2; debug++) {
        snprintf(path, sizeof path, "%s/%s%s", directory, name, debug ? ".txt" : ".pb.gz");
        const int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
        check(fd >= 0, path);
        check(cprof_profile_write(cprof_profile_lookup(name), fd, debug) == 0, name);
        close(fd);
    }
}

int main(int argc, char **argv)
{
    static void *volatile kept[3];
    pthread_t id;

    (void)argc;
    for (int i = 0; i < 3; i++)
        kept[i] = keeps(opaque(1000));
    free(drops(opaque(5000)));
    main_tid = gettid();
    check(pthread_create(&id, NULL, ends_when_awaited, NULL) == 0 &&
              pthread_join(id, NULL) == 0,
          "thread");
    static const char *const names[] = {"heap",  "allocs", "heap_peak",
                                        "block", "mutex",  "threadcreate"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        write_both(argv[1], names[i]);
    printf("rate %lu", (unsigned long)cprof_set_heap_rate(0));
    printf(", then %lu", (unsigned long)cprof_set_heap_rate(4096));
    printf(", then %lu\n", (unsigned long)cprof_set_heap_rate(1));
    return kept[0] == NULL;
}
