/* Two threads change the identity: when the first is about to start the agent's thread again, after its change, a tracer stops it
 * until the second one has asked for the other change.  Without an agent it stops nowhere. */
#include <dirent.h>
#include <grp.h>
#include <sys/syscall.h>

#include "traced.h"

enum { NOBODY = 65534, LET_GO = -700 };

static int go_on[2]; /* from the tracer to the second thread */

/* Of a status file: the line after `key`, into `to`. */
static void read_status(const char *path, const char *key, char *to, size_t size)
{
    FILE *file = fopen(path, "r");

    check(file, path);
    do
        check(fgets(to, (int)size, file), key);
    while (strncmp(to, key, strlen(key)) != 0);
    fclose(file);
    memmove(to, to + strlen(key), strlen(to) - strlen(key) + 1);
}

/* glibc asks each thread by its signal 33 to change, too. */
static bool is_asked_to_change(pid_t pid)
{
    char path[64], line[200];

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    read_status(path, "SigPnd:", line, sizeof line);
    return strtoul(line, NULL, 16) & 1ul << (33 - 1);
}

static void stop_at_clone(pid_t pid)
{
    struct __ptrace_syscall_info info;

    do
        info = next_call(pid);
    while (info.op != PTRACE_SYSCALL_INFO_ENTRY ||
           (info.entry.nr != SYS_clone &&
            !(info.entry.nr == SYS_close && (int)info.entry.args[0] == LET_GO)));
    check(write(go_on[1], "", 1) == 1, "write");
    while (info.entry.nr == SYS_clone && !is_asked_to_change(pid))
        sched_yield();
}

static void *second(void *arg)
{
    char byte;

    check(read(go_on[0], &byte, 1) == 1, "read");
    check(setuid(NOBODY) == 0, "setuid");
    return arg;
}

/* Of every thread; how many there are. */
static int check_users(void)
{
    DIR *tasks = opendir("/proc/self/task");
    char path[300], line[200];
    int n = 0;

    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        read_status(path, "Uid:", line, sizeof line);
        check(strcmp(line, "\t65534\t65534\t65534\t65534\n") == 0, line);
        n++;
    }
    closedir(tasks);
    return n;
}

/* identity_twice THREADS: how many there are to be at the end. */
int main(int argc, char **argv)
{
    pthread_t thread;

    check(pipe(go_on) == 0, "pipe");
    check(pthread_create(&thread, NULL, second, NULL) == 0, "pthread_create");
    const pid_t tracer = start_tracer(stop_at_clone);
    check(setgid(NOBODY) == 0, "setgid");
    close(LET_GO);
    check(pthread_join(thread, NULL) == 0, "pthread_join");
    check(argc == 2 && check_users() == atoi(argv[1]), "threads");
    check(waitpid(tracer, NULL, 0) == tracer, "waitpid");
    puts("done");
    return 7;
}
