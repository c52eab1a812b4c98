/* Opens a plugin by its bare file name; only the program's own RUNPATH leads to it.
 * needs: libplug_a
 * flags: -Wl,-rpath,$ORIGIN/ -Wl,--enable-new-dtags */
#include <dlfcn.h>

#include "victim.h"

int main(void)
{
    const char *pending = dlerror();
    if (pending)
        printf("a pending error at main: %s\n", pending);
    void *library = dlopen("libplug_a.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        puts(dlerror());
        return 1;
    }
    void *(*plug)(size_t) = (void *(*)(size_t))dlsym(library, "plug");
    free(plug(10));
    dlsym(library, "no_such_symbol");
    free(plug(20)); /* must not wipe the pending error */
    puts(strstr(dlerror(), "no_such_symbol") ? "the error is kept" : "the error is lost");
    return 0;
}
