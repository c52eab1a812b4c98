/* A daemon as they were taught: two forks, a new session, another directory, every descriptor closed.  Writes "ready" and
 * "done" to the file argv[1], and waits in between for the file argv[2] to vanish. */
#include <fcntl.h>
#include <sys/resource.h>

#include "victim.h"

static void *volatile kept;

NAMED void daemon_allocates(void)
{
    kept = malloc(opaque(5432));
}

static void say(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        _exit(98);
    close(fd);
}

int main(int argc, char **argv)
{
    char line[64];

    (void)argc;
    if (fork())
        _exit(7);
    setsid();
    if (fork())
        _exit(0);
    check(!chdir("/"), "chdir");
    for (int fd = 0; fd < 4096; fd++)
        close(fd);
    if (open("/dev/null", O_RDWR) != 0 || dup(0) != 1 || dup(0) != 2)
        _exit(97);
    daemon_allocates();
    snprintf(line, sizeof line, "ready %d\n", getpid());
    say(argv[1], line);
    while (access(argv[2], F_OK) == 0)
        usleep(1000);
    const int fd = open("/dev/null", O_RDONLY);
    snprintf(line, sizeof line, "next descriptor %d\n", fd);
    say(argv[1], line);
    return 0;
}
