/* Loads a plugin after the start and never closes it; may go to another directory then, and put another file in its place.
 * needs: libplug_a */
#include <dlfcn.h>

#include "victim.h"

static void *volatile kept;

int main(int argc, char **argv)
{
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    check(library != NULL, "dlopen");
    void *(*plug)(size_t) = (void *(*)(size_t))dlsym(library, "plug");
    kept = plug(12345);
    check(argc < 3 || chdir(argv[2]) == 0, "chdir");
    check(argc < 4 || rename(argv[3], argv[1]) == 0, "rename");
    return 0;
}
