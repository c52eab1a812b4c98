/* Children in their parent's memory try to change its profiles: after vfork(), in a vfork child's child, in a signal handler,
 * behind an exec that fails, and by clone() on a stack of their own.  What the parent does before, between and afterwards counts.
 * Prints what each add said and how many there are then. */
#include <errno.h>
#include <sched.h>
#include <sys/wait.h>

#include "../../include/cprof.h"
#include "victim.h"

static cprof_profile *values;
static volatile int said;
static uintptr_t next = 100;

static void change(void)
{
    said |= cprof_profile_add(values, (void *)next++, 0);
    cprof_profile_remove(values, (void *)1);
    said |= cprof_profile_new("made_by_child") != NULL || errno != EPERM;
    cprof_set_heap_rate(77);
    cprof_set_block_rate(77);
}

static void on_signal(int number)
{
    (void)number;
    change();
}

static void is_interrupted(void)
{
    raise(SIGUSR1);
}

static void fails_to_exec(void)
{
    static char *const args[] = {(char *)"/nonexistent", NULL};

    change();
    execv(args[0], args);
    change();
}

static void in_vfork(void (*work)(void));

static void has_a_child(void)
{
    in_vfork(change);
    change();
}

static __attribute__((noinline)) void in_vfork(void (*work)(void))
{
    const pid_t child = vfork();

    if (child == 0) {
        work();
        _exit(0);
    }
    check(child > 0 && waitpid(child, NULL, 0) == child, "vfork");
}

static int run_change(void *arg)
{
    (void)arg;
    change();
    return 0;
}

static void in_clone(void)
{
    static char stack[1 << 16] __attribute__((aligned(16)));
    const pid_t child =
        clone(run_change, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);

    check(child > 0 && waitpid(child, NULL, 0) == child, "clone");
}

static void show(const char *what)
{
    printf("%s: %d, %zu\n", what, said, cprof_profile_count(values));
    fflush(stdout);
}

NAMED void added_by_parent(uintptr_t value)
{
    check(cprof_profile_add(values, (void *)value, 0) == 0, "add");
}

int main(void)
{
    signal(SIGUSR1, on_signal);
    values = cprof_profile_new("values");
    added_by_parent(1);
    in_vfork(change);
    show("vfork");
    in_vfork(fails_to_exec);
    show("exec");
    in_vfork(is_interrupted);
    show("signal");
    in_vfork(has_a_child);
    show("nested");
    in_clone();
    show("clone");
    for (uintptr_t i = 2; i < 50; i++) { /* by now it is known again who we are */
        added_by_parent(i);
        cprof_profile_remove(values, (void *)(i - 1));
    }
    show("parent");
    in_vfork(change);
    show("again");
    printf("rate %llu %llu\n", (unsigned long long)cprof_set_heap_rate(1 << 19),
           (unsigned long long)cprof_set_block_rate(1 << 19));
    return 0;
}
