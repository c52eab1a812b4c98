/* Becomes another program, or itself, by argv[1]; "end" ends. */
#include <fcntl.h>

#include "victim.h"

extern char **environ;
static void *volatile kept;

NAMED void before_exec(void)
{
    kept = malloc(opaque(4321));
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "end";
    char *const end[] = {argv[0], "end", "a", "b", "c", "d", "e", "f", NULL};

    if (!strcmp(how, "end"))
        return argc;
    before_exec();
    if (!strcmp(how, "execve"))
        execve(argv[0], end, environ);
    if (!strcmp(how, "execv"))
        execv(argv[0], end);
    if (!strcmp(how, "execvp"))
        execvp(argv[0], end);
    if (!strcmp(how, "execvpe"))
        execvpe(argv[0], end, environ);
    if (!strcmp(how, "execl"))
        execl(argv[0], argv[0], "end", "a", "b", "c", "d", "e", "f", NULL);
    if (!strcmp(how, "execlp"))
        execlp(argv[0], argv[0], "end", "a", "b", "c", "d", "e", "f", NULL);
    if (!strcmp(how, "execle"))
        execle(argv[0], argv[0], "end", "a", "b", "c", "d", "e", "f", NULL, environ);
    if (!strcmp(how, "fexecve"))
        fexecve(open(argv[0], O_RDONLY | O_CLOEXEC), end, environ);
    if (!strcmp(how, "fails")) {
        check(execl("/nonexistent/program", "x", NULL) < 0 && errno == ENOENT, "errno");
        return 3;
    }
    if (!strcmp(how, "vfork")) {
        const pid_t pid = vfork();
        if (pid == 0) {
            execv(argv[0], end);
            _exit(1);
        }
        int status;
        waitpid(pid, &status, 0);
        return WEXITSTATUS(status);
    }
    return 99;
}
