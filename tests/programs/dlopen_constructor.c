/* Loads a library whose constructor allocates, by its bare name: only the program's own RUNPATH leads to it.
 * needs: libconstructed
 * flags: -Wl,-rpath,$ORIGIN/ -Wl,--enable-new-dtags */
#include <dlfcn.h>

#include "victim.h"

NAMED static void *loads_it(void)
{
    return dlopen("libconstructed.so", RTLD_NOW);
}

int main(void)
{
    void *library = loads_it();

    puts(library ? "loaded" : dlerror());
    return !library;
}
