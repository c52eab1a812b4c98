/* Profiles from every moment of a program: constructor, main, a library that comes and goes, a forked and a vforked child,
 * exit handlers.
 * needs: libapi_plug */
#include "../../include/cprof.h"

#include <dlfcn.h>

#include "victim.h"

static cprof_profile *early, *forked;

NAMED void added_in_constructor(void)
{
    check(cprof_profile_add(early, "constructor", 0) == 0, "add");
    KEEP(early);
}

__attribute__((constructor)) static void before_main(void)
{
    early = cprof_profile_new("early");
    added_in_constructor();
}

NAMED void added_at_exit(void)
{
    check(cprof_profile_add(early, "exit", 0) == 0, "add");
    cprof_profile *late = cprof_profile_new("late");
    check(cprof_profile_add(late, "exit", 0) == 0, "add");
    KEEP(late);
}

static void at_exit(void)
{
    added_at_exit();
}

__attribute__((destructor)) static void after_main(void)
{
    check(cprof_profile_add(early, "destructor", 0) == 0, "add");
}

NAMED void added_by_parent(void)
{
    for (uintptr_t i = 0; i < 5; i++)
        check(cprof_profile_add(forked, (void *)i, 0) == 0, "add");
    KEEP(forked);
}

NAMED void added_by_child(void)
{
    for (uintptr_t i = 100; i < 103; i++)
        check(cprof_profile_add(forked, (void *)i, 0) == 0, "add");
    cprof_profile_remove(forked, (void *)0);
    check(cprof_profile_add(forked, (void *)1, 0) == EEXIST, "the parent's values are there");
    KEEP(forked);
}

static void use_plugin(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    check(library != NULL, "dlopen");
    int (*opens)(const void *) = (int (*)(const void *))dlsym(library, "plug_opens");
    check(opens("one") == 0 && opens("two") == 0, "plugin");
    dlclose(library);
}

static void use_vfork(void)
{
    static volatile int err, write_err, snapshot_err;
    const pid_t child = vfork();

    if (child == 0) {
        err = cprof_profile_add(forked, "vfork", 0);
        cprof_profile_remove(forked, (void *)4);
        write_err = cprof_profile_write(forked, 1, 1);
        snapshot_err = cprof_snapshot();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("vfork child: add %d, write %s, ", err, strerror(write_err));
    printf("snapshot %s, count %zu\n", strerror(snapshot_err), cprof_profile_count(forked));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    (void)argc;
    atexit(at_exit);
    forked = cprof_profile_new("forked");
    added_by_parent();
    use_vfork();
    use_plugin(argv[1]);
    const pid_t child = fork();
    if (child == 0) {
        added_by_child();
        exit(0);
    }
    int status;
    check(waitpid(child, &status, 0) == child && status == 0, "child");
    printf("child: %d\n", child);
    return 0;
}
