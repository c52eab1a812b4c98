/* A C program that dlopens a throwing C++ library, RTLD_LOCAL.
 * needs: libthrows */
#include <dlfcn.h>

#include "victim.h"

int main(int argc, char **argv)
{
    (void)argc;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        puts(dlerror());
        return 1;
    }
    int (*throw_and_catch)(int) = (int (*)(int))dlsym(library, "throw_and_catch");
    printf("caught %d\n", throw_and_catch(1000));
    return 0;
}
