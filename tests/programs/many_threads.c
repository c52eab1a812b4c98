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
    char text[4096];
    FILE *file = fopen("/proc/self/statm", "r");
    check(file && fgets(text, sizeof text, file), "statm");
    fclose(file);
    long size, resident;
    sscanf(text, "%ld %ld", &size, &resident);
    return resident * 4;
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
