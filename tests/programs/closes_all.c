/* Owns every descriptor number: closes all from 3 on, again and again, and puts its own files there. */
#include <fcntl.h>

#include "victim.h"

static void *volatile kept[10];

int main(int argc, char **argv)
{
    (void)argc;
    int first = -1;
    for (int i = 0; i < 10; i++) {
        closefrom(3);
        kept[i] = malloc(opaque(1000));
        int fd = open(argv[1], O_RDWR | O_CREAT | O_APPEND, 0600);
        check(first < 0 || fd == first, "another descriptor was in use");
        first = fd;
        raise(SIGUSR2);
        dprintf(fd, "line %d\n", i);
    }
    printf("descriptor %d\n", first);
    return 0;
}
