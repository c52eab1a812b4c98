/* Loads a library that calls libhandles, in several ways: handles_plugin dlopen|dlmopen|twice LIBRARY, or
 * handles_plugin both LIBRARY OTHER, which is loaded first; snapshot LIBRARY OTHER: with a snapshot between them
 * needs: libhandles libhandles_user */
#include <dlfcn.h>

#include "victim.h"

NAMED static void use(void *library)
{
    long (*uses)(long) = (long (*)(long))dlsym(library, "uses_handles");

    check(uses != NULL, "uses_handles");
    printf("%ld\n", uses(8));
}

NAMED static void *load(const char *how, const char *path)
{
    return strcmp(how, "dlmopen") == 0 ? dlmopen(LM_ID_BASE, path, RTLD_NOW)
                                       : dlopen(path, RTLD_LAZY | RTLD_LOCAL);
}

int main(int argc, char **argv)
{
    check(argc >= 3, "arguments");
    if (argc > 3)
        check(load(argv[1], argv[3]) != NULL, "dlopen");
    if (strcmp(argv[1], "snapshot") == 0)
        raise(SIGUSR2);
    void *library = load(argv[1], argv[2]);
    check(library != NULL, "dlopen");
    use(library);
    if (strcmp(argv[1], "twice") == 0) {
        printf("%d\n", dlclose(library));
        library = load(argv[1], argv[2]);
        check(library != NULL, "dlopen");
        use(library);
    }
    return 0;
}
