/* Loads a plugin after the start and never closes it.
 * needs: libplug_a */
#include <dlfcn.h>

#include "victim.h"

static void *volatile kept;

int main(int argc, char **argv)
{
    (void)argc;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    check(library != NULL, "dlopen");
    void *(*plug)(size_t) = (void *(*)(size_t))dlsym(library, "plug");
    kept = plug(12345);
    return 0;
}
