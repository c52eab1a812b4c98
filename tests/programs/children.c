/* How children come to be, by argv[1]; each allocates something worth a file.  Prints the pids of the children. */
#include <spawn.h>

#include "victim.h"

extern char **environ;
static void *volatile kept;

NAMED void parent_allocates(void)
{
    kept = malloc(opaque(3000));
}

NAMED void execed_allocates(void)
{
    kept = malloc(opaque(4000));
}

static void reap(pid_t pid, int expected)
{
    int status;
    check(pid > 0 && waitpid(pid, &status, 0) == pid, "waitpid");
    printf("child %d status %d\n", (int)pid,
           WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    check(WIFEXITED(status) && WEXITSTATUS(status) == expected, "the child's status");
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    char *const self[] = {argv[0], "execed", NULL};
    if (!strcmp(what, "execed")) {
        execed_allocates();
        return 5;
    }
    parent_allocates();
    if (!strcmp(what, "exec")) {
        execv(argv[0], self);
        return 1;
    }
    if (!strcmp(what, "fork_exec")) {
        pid_t pid = fork();
        if (pid == 0) {
            execv(argv[0], self);
            _exit(1);
        }
        reap(pid, 5);
    } else if (!strcmp(what, "vfork_exec")) {
        pid_t pid = vfork();
        if (pid == 0) {
            execv(argv[0], self);
            _exit(1);
        }
        reap(pid, 5);
    } else if (!strcmp(what, "vfork_exit")) {
        pid_t pid = vfork();
        if (pid == 0) {
            void *p =
                malloc(opaque(50)); /* works with every libc here, and many programs do it */
            KEEP(p);
            free(p);
            _exit(5);
        }
        reap(pid, 5);
    } else if (!strcmp(what, "posix_spawn")) {
        pid_t pid;
        check(!posix_spawn(&pid, argv[0], NULL, NULL, self, environ), "posix_spawn");
        reap(pid, 5);
    } else if (!strcmp(what, "posix_spawn_fails")) {
        pid_t pid;
        int err = posix_spawn(&pid, "/nonexistent/program", NULL, NULL, self, environ);
        printf("posix_spawn: %s\n", strerror(err));
    } else if (!strcmp(what, "system")) {
        printf("system: %d\n", WEXITSTATUS(system("exit 5")));
    }
    return 0;
}
