/* hold_live OBJECTS - holds that many 48-byte objects from four places, and says how much memory the process takes. */
#include "bench.h"

#include <sys/mman.h>

static void *(*volatile allocate)(size_t) = malloc;

#define FOUR(M) M(0) M(1) M(2) M(3)
#define SITE(n) \
    static FRAME void *allocate_##n(size_t size) \
    { \
        void *p = allocate(size); \
        KEEP(p); \
        return p; \
    }
FOUR(SITE)
#define SITE_NAME(n) allocate_##n,
static void *(*const sites[])(size_t) = {FOUR(SITE_NAME)};

static long field_kib(const char *path, const char *field)
{
    static char text[8192];
    read_file(path, text, sizeof text);
    const char *at = strstr(text, field);
    require(at != NULL, field);
    return strtol(at + strlen(field), NULL, 10);
}

int main(int argc, char **argv)
{
    require(argc == 2, "usage: hold_live OBJECTS");
    size_t n_objects = strtoul(argv[1], NULL, 10);
    void **objects = mmap(NULL, (n_objects + 1) * sizeof *objects, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    require(objects != MAP_FAILED, "mmap");

    uint64_t cpu_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (size_t i = 0; i < n_objects; i++) {
        size_t *object = sites[i & 3](48);
        require(object != NULL, "malloc");
        *object = i;
        objects[i] = object;
    }
    cpu_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;

    long rss_kib = field_kib("/proc/self/smaps_rollup", "Rss:");
    long peak_kib = field_kib("/proc/self/status", "VmHWM:");
    size_t n_kept = 0;
    for (size_t i = 0; i < n_objects; i++)
        n_kept += *(size_t *)objects[i] == i;
    require(n_kept == n_objects, "objects are missing");
    printf("rss_kib=%ld\npeak_kib=%ld\nobjects=%zu\ncpu_ns_per_object=%.1f\n", rss_kib,
           peak_kib, n_kept, (double)cpu_ns / (double)(n_objects + !n_objects));
    print_preloaded();
    return 0;
}
