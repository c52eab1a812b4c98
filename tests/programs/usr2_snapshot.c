/* Keeps objects, asks for a snapshot, and looks at once whether it is complete: it prints the files it finds, then the
 * number of its threads; frees, and ends.  argv[1]: the directory of the files; argv[2] "threads": with four threads. */
#include <dirent.h>

#include "victim.h"

static void *kept[10];
static pthread_barrier_t started, finish;

NAMED void held_at_snapshot(void)
{
    for (int i = 0; i < 10; i++) {
        kept[i] = malloc(opaque(1000));
        KEEP(kept[i]);
    }
}

static void *waits(void *unused)
{
    pthread_barrier_wait(&started);
    pthread_barrier_wait(&finish);
    return unused;
}

static int n_files(const char *path, const char *end)
{
    int n = 0;
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        size_t length = strlen(entry->d_name), end_length = strlen(end);
        n += entry->d_name[0] != '.' && length >= end_length &&
             !strcmp(entry->d_name + length - end_length, end);
    }
    if (directory)
        closedir(directory);
    return n;
}

static void print_threads(void)
{
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "Threads:", 8))
            fputs(line, stdout);
    fclose(file);
}

int main(int argc, char **argv)
{
    bool threads = argc > 2 && !strcmp(argv[2], "threads");
    pthread_t thread[4];
    if (threads) {
        pthread_barrier_init(&started, NULL, 5);
        pthread_barrier_init(&finish, NULL, 5);
        for (int i = 0; i < 4; i++)
            check(!pthread_create(&thread[i], NULL, waits, NULL), "pthread_create");
        pthread_barrier_wait(&started);
    }
    held_at_snapshot();
    raise(SIGUSR2);
    if (threads) { /* it may be another thread that writes it */
        while (n_files(argv[1], ".0001.heap.pb.gz") == 0)
            usleep(1000);
    }
    printf("heap files: %d\n", n_files(argv[1], ".0001.heap.pb.gz"));
    if (!threads)
        printf("all files: %d\n", n_files(argv[1], ""));
    if (!threads)
        print_threads();
    for (int i = 0; i < 10; i++)
        free(kept[i]);
    if (threads) {
        pthread_barrier_wait(&finish);
        for (int i = 0; i < 4; i++)
            pthread_join(thread[i], NULL);
    }
    return 0;
}
