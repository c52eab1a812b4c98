/* Opens sockets and files until there is no descriptor left, is asked for a snapshot, looks whether all is as before, and ends
 * so.  argv[1]: how many to leave free.  Another thread opens and closes meanwhile, where "busy" is argv[2]; "sandboxed" forbids
 * itself clone(). */
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "filter.h"

enum { LIMIT = 100 };

NAMED int keeps_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    KEEP(fd);
    return fd;
}

NAMED int keeps_file(void)
{
    int fd = open("/dev/null", O_RDONLY);

    KEEP(fd);
    return fd;
}

/* Inodes by number: what stands there. */
static void read_table(ino_t *ret_inodes)
{
    struct stat st;

    for (int fd = 0; fd < LIMIT; fd++)
        ret_inodes[fd] = fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static atomic_bool is_over;
static atomic_int n_failed;

static void *opens_and_closes(void *mine)
{
    while (!is_over) {
        close(*(int *)mine);
        /* Nobody else asks for the number: it must be there. */
        if ((*(int *)mine = dup(0)) < 0)
            n_failed++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static ino_t before[LIMIT], after[LIMIT];
    const char *how = argc > 2 ? argv[2] : "";
    struct rlimit limit = {LIMIT, LIMIT};
    int n_sockets = 0, n_files = 0, mine;
    pthread_t thread;

    check(!setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    if (*how == 's')
        forbid_call(SYS_clone, SECCOMP_RET_KILL_PROCESS);
    while (n_sockets < 30 && keeps_socket() >= 0)
        n_sockets++;
    while ((mine = keeps_file()) >= 0)
        n_files++;
    for (int fd = LIMIT - atoi(argv[1]); fd < LIMIT; fd++, n_files--)
        close(fd);
    read_table(before);
    mine = 50;
    if (*how == 'b')
        pthread_create(&thread, NULL, opens_and_closes, &mine);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR2);
    is_over = true;
    if (*how == 'b')
        pthread_join(thread, NULL);
    read_table(after);
    before[50] = after[50];
    check(memcmp(before, after, sizeof before) == 0, "the table is as it was");
    printf("sockets %d files %d failed %d\n", n_sockets, n_files, n_failed);
    return 0;
}
