/* Catches what the constructor of a library throws through dlopen(). */
#include <dlfcn.h>
#include <stdexcept>

#include "victim.h"

int main(int, char **argv)
{
    try {
        dlopen(argv[1], RTLD_NOW);
        puts("loaded");
    } catch (const std::runtime_error &error) {
        printf("caught %s\n", error.what());
    }
    return 0;
}
