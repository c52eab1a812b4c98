/* A program while the agent has a thread of its own: with_helper WHAT; prints nothing that depends on the agent. */
#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>

#include "traced.h"

static void *volatile kept;

NAMED void held_all_along(void)
{
    kept = malloc(opaque(4321));
}

/* A line of the thread's status file whose name begins with `key`, into `to`. */
static void read_status(const char *task, const char *key, char *to, size_t size)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/status", task);
    FILE *file = fopen(path, "r");
    *to = '\0';
    while (file && fgets(to, (int)size, file) && strncmp(to, key, strlen(key)) != 0)
        *to = '\0';
    if (file)
        fclose(file);
}

/* One line per thread: its name, and of the second on what signals it blocks. */
static void list_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    char line[200];
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.')
            continue;
        read_status(task->d_name, "Name:", line, sizeof line);
        fputs(line, stdout);
        read_status(task->d_name, "SigBlk:", line, sizeof line);
        fputs(line, stdout);
    }
    closedir(tasks);
}

static bool has_thread(const char *name_line)
{
    DIR *tasks = opendir("/proc/self/task");
    char line[200];
    bool found = false;
    for (struct dirent *task; (task = readdir(tasks)) && !found;) {
        read_status(task->d_name, "Name:", line, sizeof line);
        found = !strcmp(line, name_line);
    }
    closedir(tasks);
    return found;
}

/* Every thread has become user and group 65534, without further groups. */
static void check_identity(void)
{
    DIR *tasks = opendir("/proc/self/task");
    char line[200];
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.')
            continue;
        read_status(task->d_name, "Uid:", line, sizeof line);
        check(!strcmp(line, "Uid:\t65534\t65534\t65534\t65534\n"), line);
        read_status(task->d_name, "Gid:", line, sizeof line);
        check(!strcmp(line, "Gid:\t65534\t65534\t65534\t65534\n"), line);
        read_status(task->d_name, "Groups:", line, sizeof line);
        check(!strcmp(line, "Groups:\t \n") || !strcmp(line, "Groups:\t\n"), line);
    }
    closedir(tasks);
}

/* ---- a second change while the first thread is about to start the agent's thread again after its own ---- */

enum { LET_GO = -700 };

static int go_on[2]; /* from the tracer to the second thread */
static _Atomic pid_t second;

static bool is_there(pid_t tid)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d", (int)tid);
    return access(path, F_OK) == 0;
}

/* glibc asks each thread by its signal 33 to change, too. */
static bool is_asked_to_change(pid_t pid)
{
    char name[16], line[200];

    snprintf(name, sizeof name, "%d", (int)pid);
    read_status(name, "SigPnd:", line, sizeof line);
    return strtoul(line + strlen("SigPnd:"), NULL, 16) & 1ul << (33 - 1);
}

static bool lets_go(const struct __ptrace_syscall_info *info)
{
    return info->entry.nr == SYS_close && (int)info->entry.args[0] == LET_GO;
}

/* The next entry of the call, or of the one that lets go. */
static struct __ptrace_syscall_info next_entry(pid_t pid, uint64_t nr)
{
    struct __ptrace_syscall_info info;

    do
        info = next_call(pid);
    while (info.op != PTRACE_SYSCALL_INFO_ENTRY || (info.entry.nr != nr && !lets_go(&info)));
    return info;
}

/* At its clone until the second one has asked, and when it has answered, before it goes on, until that one has ended;
 * without an agent it stops nowhere. */
static void stop_starter(pid_t pid)
{
    const struct __ptrace_syscall_info info = next_entry(pid, SYS_clone);

    check(write(go_on[1], "", 1) == 1, "write");
    if (lets_go(&info))
        return;
    while (!is_asked_to_change(pid))
        sched_yield();
    next_entry(pid, SYS_rt_sigreturn);
    while (is_there(second))
        sched_yield();
}

static void *thread_changes(void *arg)
{
    char byte;

    second = gettid();
    check(read(go_on[0], &byte, 1) == 1, "read");
    check(!setuid(65534), "setuid");
    return arg;
}

static void change_in_two_threads(void)
{
    pthread_t thread;

    check(!pipe(go_on) && !setgroups(0, NULL), "pipe");
    check(!pthread_create(&thread, NULL, thread_changes, NULL), "pthread_create");
    while (!second)
        sched_yield();
    const pid_t tracer = start_tracer(stop_starter);
    check(!setgid(65534), "setgid");
    close(LET_GO);
    check(!pthread_join(thread, NULL), "pthread_join");
    check_identity();
    check(waitpid(tracer, NULL, 0) == tracer, "waitpid");
}

extern int capset(cap_user_header_t header, const cap_user_data_t data);

/* No thread is left with a right that the program has given up. */
static void drops_capabilities(void)
{
    static const char *const names[] = {"CapPrm:", "CapEff:"};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    char line[200];

    check(!capset(&header, none), "capset");
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; (task = readdir(tasks));)
        for (int i = 0; i < 2 && task->d_name[0] != '.'; i++) {
            read_status(task->d_name, names[i], line, sizeof line);
            check(!strcmp(line + strlen(names[i]), "\t0000000000000000\n"), line);
        }
    closedir(tasks);
    errno = 0;
    header.version = 1;
    printf("capset %d", capset(&header, none));
    printf(" %s\n", strerror(errno));
}

static void *thread_reads(void *arg)
{
    (void)arg;
    getchar();
    puts("last thread");
    return NULL;
}

static void *thread_exits(void *arg)
{
    return arg;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    pthread_t thread;

    held_all_along();
    if (!strcmp(what, "list")) {
        while (!has_thread("Name:\tcprof\n")) /* it takes its name as its first act */
            ;
        list_threads();
    } else if (!strcmp(what, "wait")) {
        puts("ready");
        fflush(stdout);
        getchar();
    } else if (!strcmp(what, "identity")) {
        check(!setgroups(0, NULL) && !setgid(65534) && !setuid(65534), "setuid");
        check_identity();
        check(setuid(0) < 0, "no way back");
        puts("done");
    } else if (!strcmp(what, "identity-twice")) {
        change_in_two_threads();
        while (argc > 2 && !has_thread("Name:\tcprof\n"))
            ;
        puts("done");
    } else if (!strcmp(what, "identity-many")) {
        for (int i = 0; i < 300; i++)
            check(!setresuid(0, i % 2 ? 0 : 65534, 0), "setresuid");
        puts("done");
    } else if (!strcmp(what, "capabilities")) {
        while (argc > 2 && !has_thread("Name:\tcprof\n"))
            ;
        drops_capabilities();
    } else if (!strcmp(what, "unshare")) {
        for (int i = 0; i < 20; i++)
            check(!unshare(CLONE_NEWUSER), "unshare");
        puts("done");
    } else if (!strcmp(what, "pthread_exit")) {
        pthread_create(&thread, NULL, thread_reads, NULL);
        pthread_exit(NULL);
    } else if (!strcmp(what, "threads")) {
        for (int i = 0; i < 300; i++)
            check(!pthread_create(&thread, NULL, thread_exits, NULL) &&
                      !pthread_join(thread, NULL),
                  "thread");
        puts("done");
    } else if (!strcmp(what, "forks")) {
        for (int i = 0; i < 200; i++) {
            const pid_t pid = fork();
            if (pid == 0)
                _exit(i % 100);
            int status;
            check(waitpid(pid, &status, 0) == pid && status == i % 100 << 8, "child");
        }
        puts("done");
    } else if (!strcmp(what, "fork")) {
        const pid_t pid = fork();
        if (pid == 0)
            puts("child ready"), fflush(stdout), getchar(), exit(0);
        waitpid(pid, NULL, 0);
    }
    return 7;
}
