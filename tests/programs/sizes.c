/* One function per size from 16 B to 4 MiB; each allocates so much that about `argv[1]` samples of mean `argv[2]` bytes
 * fall on it, and prints "name size count". */
#include "victim.h"

static long n_samples, rate;

#define SIZE(name, size) \
    NAMED void name(void) \
    { \
        long n = n_samples * rate / (size); \
        if (n < n_samples) \
            n = n_samples; \
        for (long i = 0; i < n; i++) { \
            void *p = malloc(opaque(size)); \
            KEEP(p); \
            free(p); \
        } \
        printf("%s %ld %ld\n", #name, (long)(size), n); \
    }

SIZE(size_16, 16)
SIZE(size_64, 64)
SIZE(size_256, 256)
SIZE(size_1k, 1024)
SIZE(size_4k, 4096)
SIZE(size_32k, 32768)
SIZE(size_256k, 262144)
SIZE(size_1m, 1048576)
SIZE(size_4m, 4194304)

int main(int argc, char **argv)
{
    n_samples = argc > 1 ? atol(argv[1]) : 1000;
    rate = argc > 2 ? atol(argv[2]) : 524288;
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    size_16();
    size_64();
    size_256();
    size_1k();
    size_4k();
    size_32k();
    size_256k();
    size_1m();
    size_4m();
    return 0;
}
