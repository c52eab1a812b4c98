/* One thread writes a profile into a pipe that nobody reads; meanwhile others can be written and snapshots made. */
#include "../../include/cprof.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include "victim.h"

static cprof_profile *profile;
static int ends[2];

/* Many stacks, so that the text is longer than the pipe. */
NAMED void adds(uintptr_t n)
{
    check(cprof_profile_add(profile, (void *)n, 0) == 0, "add");
    if (n > 1)
        adds(n - 1);
    KEEP(n);
}

static void *writes(void *arg)
{
    check(cprof_profile_write(profile, ends[1], 1) == 0, "write to the pipe");
    close(ends[1]);
    return arg;
}

/* Until the pipe is full: who writes to it then waits. */
static void wait_until_full(void)
{
    int n = 0;

    while (check(ioctl(ends[0], FIONREAD, &n) == 0, "FIONREAD"), n < 4096)
        usleep(1000);
}

int main(void)
{
    char buffer[4096];
    size_t n_read = 0;
    ssize_t n;
    pthread_t id;

    check(pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 4096) == 4096, "pipe");
    profile = cprof_profile_new("conn");
    adds(40);
    check(pthread_create(&id, NULL, writes, NULL) == 0, "thread");
    wait_until_full();
    const int file = open("/dev/null", O_WRONLY);
    printf("meanwhile: write %d, snapshot %d\n", cprof_profile_write(profile, file, 0),
           cprof_snapshot());
    while ((n = read(ends[0], buffer, sizeof buffer)) > 0)
        n_read += (size_t)n;
    pthread_join(id, NULL);
    printf("read all: %d\n", n_read > 4096);
    return 0;
}
