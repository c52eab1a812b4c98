/* memcached_load SOCKET CONNECTIONS REQUESTS - sets and gets in memcached's text protocol over a Unix socket.
 *
 * One thread for each connection; REQUESTS of each, one get after every set, keys of all connections mixed.  Every
 * answer is read whole and checked. */
#include "bench.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MAX_CONNECTIONS = 256, N_KEYS = 10000, VALUE_BYTES = 100 };

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static unsigned long n_requests;

static void send_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t n = send(fd, text, size, MSG_NOSIGNAL);
        require(n > 0, "send");
        text += n;
        size -= (size_t)n;
    }
}

/* Until the answer ends as it should. */
static void expect(int fd, const char *end)
{
    char answer[1024];
    size_t have = 0;
    const size_t length = strlen(end);

    while (have < length || memcmp(answer + have - length, end, length) != 0) {
        const ssize_t n = recv(fd, answer + have, sizeof answer - have, 0);
        require(n > 0, "recv: another answer, or none");
        have += (size_t)n;
    }
}

static void *load(void *arg)
{
    uint64_t random = 88172645463325252u + (uintptr_t)arg;
    char value[VALUE_BYTES + 1], request[256];
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    require(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0,
            "connect");
    memset(value, 'v', VALUE_BYTES);
    value[VALUE_BYTES] = '\0';
    for (unsigned long i = 0; i < n_requests; i += 2) {
        const unsigned key = (unsigned)(random_next(&random) % N_KEYS);
        int n = snprintf(request, sizeof request, "set key-%u 0 0 %d\r\n%s\r\n", key,
                         VALUE_BYTES, value);
        send_all(fd, request, (size_t)n);
        expect(fd, "STORED\r\n");
        n = snprintf(request, sizeof request, "get key-%u\r\n", key);
        send_all(fd, request, (size_t)n);
        expect(fd, "vvv\r\nEND\r\n");
    }
    close(fd);
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t threads[MAX_CONNECTIONS];

    require(argc == 4, "usage: memcached_load SOCKET CONNECTIONS REQUESTS");
    const size_t n = strtoul(argv[2], NULL, 10);
    n_requests = strtoul(argv[3], NULL, 10);
    require(n >= 1 && n <= MAX_CONNECTIONS && strlen(argv[1]) < sizeof address.sun_path,
            "bad argument");
    strcpy(address.sun_path, argv[1]);
    for (uintptr_t i = 0; i < n; i++)
        require(pthread_create(&threads[i], NULL, load, (void *)i) == 0, "pthread_create");
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    printf("requests=%lu\n", n * n_requests);
    return 0;
}
