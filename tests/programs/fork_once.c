/* The parent keeps an object, forks; the child frees it, allocates its own, and exits. */
#include "victim.h"

NAMED void *parent_makes(void)
{
    void *p = malloc(opaque(5000));
    KEEP(p);
    return p;
}

NAMED void *inherited(void)
{
    void *p = malloc(opaque(6000));
    KEEP(p);
    return p;
}

NAMED void *child_makes(void)
{
    void *p = malloc(opaque(7000));
    KEEP(p);
    return p;
}

static void *kept[3];

int main(void)
{
    kept[0] = parent_makes();
    kept[1] = inherited();
    pid_t pid = fork();
    check(pid >= 0, "fork");
    if (pid == 0) {
        free(kept[0]);
        kept[2] = child_makes();
        return 0;
    }
    int status;
    check(waitpid(pid, &status, 0) == pid && status == 0, "child");
    printf("%d\n", (int)pid);
    return 0;
}
