/* orphan_execs - its child's child, whose parent ends at once, becomes argv[1] and is waited for until it has ended. */
#include "victim.h"

int main(int argc, char **argv)
{
    int ends[2];
    char byte;

    check(argc > 1 && pipe(ends) == 0, "pipe");
    const pid_t parent = fork();
    if (parent == 0) {
        const pid_t self = getpid();
        if (fork() != 0)
            _exit(0);
        close(ends[0]); /* the other end stays open over exec */
        while (getppid() == self)
            usleep(1000);
        execv(argv[1], argv + 1);
        _exit(9);
    }
    close(ends[1]);
    check(waitpid(parent, NULL, 0) == parent, "waitpid");
    check(read(ends[0], &byte, 1) == 0, "the orphan's end");
    printf("done\n");
    return 0;
}
