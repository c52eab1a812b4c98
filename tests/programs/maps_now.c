/* Prints the permissions of its own mappings: its slots are read-only.
 * flags: -Wl,-z,now -Wl,-z,relro */
#include "victim.h"

int main(void)
{
    char line[4096], self[4096];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    FILE *maps = fopen("/proc/self/maps", "r");

    check(n > 0 && maps, "/proc/self");
    self[n] = '\0';
    while (fgets(line, sizeof line, maps))
        if (strstr(line, self))
            printf("%.4s\n", strchr(line, ' ') + 1);
    fclose(maps);
    return 0;
}
