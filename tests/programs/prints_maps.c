/* Allocates from its own code, from a library's, and prints /proc/self/maps at the end. */
#include "victim.h"

static char *copy;

NAMED void duplicates(void)
{
    copy = strdup("a string that the library allocates");
    KEEP(copy);
}

int main(void)
{
    static char text[65536];
    duplicates();
    FILE *file = fopen("/proc/self/maps", "r");
    check(file != NULL, "maps");
    size_t n = fread(text, 1, sizeof text, file);
    fclose(file);
    fwrite(text, 1, n, stdout);
    return 0;
}
