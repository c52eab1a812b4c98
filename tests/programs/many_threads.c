/* Creates and joins threads that allocate; prints resident KiB after a tenth of them and at the end. */
#include "victim.h"

NAMED void *short_lived(void *unused)
{
    for (int i = 0; i < 5; i++) {
        void *p = malloc(opaque(100));
        KEEP(p);
        free(p);
    }
    return unused;
}

static long resident_kib(void)
{
    /* what it maps is counted now; statm's number may be off by a megabyte, the more so the more CPUs there are */
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    long resident = -1;
    char line[256];
    while (file && resident < 0 && fgets(line, sizeof line, file))
        sscanf(line, "Rss: %ld", &resident);
    check(resident > 0, "smaps_rollup");
    fclose(file);
    return resident;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 20000;
    for (int i = 0; i < n; i++) {
        if (i == n / 10)
            printf("%ld\n", resident_kib());
        pthread_t thread;
        check(!pthread_create(&thread, NULL, short_lived, NULL), "pthread_create");
        pthread_join(thread, NULL);
    }
    printf("%ld\n", resident_kib());
    return 0;
}
