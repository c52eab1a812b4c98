/* Leaves two keys, one mapping and one library open.
 * needs: libplug_a */
#include <dlfcn.h>

#include "victim.h"

NAMED static void creates_keys(void)
{
    pthread_key_t keys[3];

    for (int i = 0; i < 3; i++)
        check(pthread_key_create(&keys[i], NULL) == 0, "key");
    check(pthread_key_delete(keys[1]) == 0, "delete");
}

NAMED static void maps(void)
{
    char *kept = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *freed = mmap(NULL, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    check(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED,
          "no length");
    check(munmap(freed, 1 << 16) == 0 && munmap(freed + 1, 1) < 0, "munmap");
    check(mremap(kept, 1 << 20, 3 << 20, MREMAP_MAYMOVE) != MAP_FAILED, "mremap");
    check(mremap(NULL, 4096, SIZE_MAX & ~4095ul, 0) == MAP_FAILED, "mremap of nothing");
}

NAMED static void loads(const char *path)
{
    void *kept = dlopen(path, RTLD_NOW), *closed = dlopen(NULL, RTLD_NOW);

    check(kept && closed && !dlopen("/nonexistent.so", RTLD_NOW), "dlopen");
    check(dlclose(closed) == 0, "dlclose");
}

int main(int argc, char **argv)
{
    check(argc == 2, "arguments");
    creates_keys();
    maps();
    loads(argv[1]);
    puts("open");
    return 0;
}
