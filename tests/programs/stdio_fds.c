/* Opens files right at start, as a program does whose descriptors 0-2 were closed, writes to them, and prints into argv[1]
 * what it then finds there. */
#include <fcntl.h>

#include "victim.h"

int main(int argc, char **argv)
{
    (void)argc;
    chdir(argv[1]);
    int a = open("first", O_RDWR | O_CREAT, 0600);
    int b = open("second", O_RDWR | O_CREAT, 0600);
    int c = open("third", O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 1000; i++) {
        void *p = malloc(opaque(1000));
        KEEP(p);
    }
    raise(SIGUSR2);
    check(write(a, "first\n", 6) == 6 && write(b, "second\n", 7) == 7 &&
              write(c, "third\n", 6) == 6,
          "write");
    int fd = open("report", O_RDWR | O_CREAT, 0600);
    dprintf(fd, "%d %d %d %d\n", a, b, c, fd);
    return 3;
}
