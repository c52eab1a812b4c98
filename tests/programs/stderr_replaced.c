/* Puts a data file where stderr was: nobody else may write there. */
#include <fcntl.h>

#include "victim.h"

static void *volatile kept;

int main(int argc, char **argv)
{
    (void)argc;
    kept = malloc(opaque(1000));
    close(2);
    int fd = open(argv[1], O_RDWR | O_CREAT | O_APPEND, 0600);
    check(fd == 2, "open");
    check(write(fd, "data\n", 5) == 5, "write");
    return 0;
}
