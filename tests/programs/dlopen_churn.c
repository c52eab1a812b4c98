/* Loads two plugins in turn, so that one comes to lie where the other was, and at ever other addresses.
 * needs: libplug_a libplug_b */
#include <dlfcn.h>

#include "victim.h"

NAMED void plug_once(const char *path, size_t n)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    check(library != NULL, "dlopen");
    void *(*plug)(size_t) = (void *(*)(size_t))dlsym(library, "plug");
    check(plug != NULL, "dlsym");
    void *p = plug(n);
    KEEP(p);
    free(p);
    dlclose(library);
}

int main(int argc, char **argv)
{
    int n = argc > 3 ? atoi(argv[3]) : 1000;
    void *hole = NULL;
    for (int i = 0; i < n; i++) {
        plug_once(argv[1], 1000);
        plug_once(argv[2], 2000);
        if (i % 10 == 9) { /* from now on the next ones lie elsewhere */
            if (hole)
                munmap(hole, 65536);
            hole = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        }
    }
    return 0;
}
