/* A small server that hands out blobs over TCP, and forgets: the victim of `make demo`.
 *
 * Three server threads, two client threads in the same process.  The clients ask for a fixed sequence, so
 * that every run does the same.  Where it behaves: serve_blob() opens, sends, closes.  Where it does not:
 *
 *     cache_thumbnail_and_forget()   64 KiB stay in a cache that nobody ever looks into (48 MiB in a whole run)
 *     peek_blob_and_forget()         the error path leaves the blob's FILE open; open blobs are also counted by the
 *                                    program itself, in a profile of its own, "blobstore.Open" (cprof.h)
 *     serve_listing_and_forget()     a copy of the connection, to tell of changes by, is never closed
 *     index_cache_under_lock()       holds cache_lock while it computes; note_request() waits for that
 *
 * After the first half it prints "half way" and reads a line from stdin; at the end of the input, too, it goes on.
 * It ends by itself with status 0. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "../../include/cprof.h"
#include "victim.h"

enum {
    N_SERVERS = 3,
    N_CLIENTS = 2,
    N_BLOBS = 4,
    REQUESTS_PER_HALF = 384, /* of each client */
    BLOB_BYTES = 256 << 10,
    THUMBNAIL_BYTES = 64 << 10,
    N_INDEXED = 32, /* thumbnails at a time */
};

struct blob {
    FILE *file;
    char *bytes;
    size_t size;
};

struct thumbnail {
    struct thumbnail *next;
    char pixels[THUMBNAIL_BYTES];
};

static char directory[256];
static int listener;
static struct sockaddr_in address;
static struct thumbnail *cache; /* guarded by cache_lock, as what follows; only ever grows */
static unsigned long index_sum, n_requests;
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- blobs ---- */

static cprof_profile *open_blobs; /* NULL without the agent: then nothing is counted */

static void blob_path(char *path, size_t size, int number)
{
    snprintf(path, size, "%s/blob-%d", directory, number);
}

NAMED bool open_blob(struct blob *blob, int number)
{
    char path[300];

    blob_path(path, sizeof path, number);
    blob->file = fopen(path, "re");
    if (!blob->file)
        return false;
    cprof_profile_add(open_blobs, blob->file, 0);
    blob->bytes = malloc(BLOB_BYTES);
    check(blob->bytes, "malloc");
    blob->size = fread(blob->bytes, 1, BLOB_BYTES, blob->file);
    return true;
}

NAMED void close_blob(struct blob *blob)
{
    free(blob->bytes);
    cprof_profile_remove(open_blobs, blob->file);
    fclose(blob->file);
}

/* ---- the server ---- */

NAMED void send_answer(int connection, const char *bytes, size_t size)
{
    char header[32];
    int length = snprintf(header, sizeof header, "%zu\n", size);

    check(send(connection, header, (size_t)length, MSG_NOSIGNAL) == length, "send");
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(connection, bytes + sent, size - sent, MSG_NOSIGNAL);
        check(n > 0, "send");
        sent += (size_t)n;
    }
}

NAMED void serve_blob(int connection, int number)
{
    struct blob blob;

    if (!open_blob(&blob, number)) {
        send_answer(connection, "no such blob\n", 13);
        return;
    }
    send_answer(connection, blob.bytes, blob.size);
    close_blob(&blob);
}

/* A checksum over the newest thumbnails: a millisecond of work for which nobody needs the lock. */
NAMED unsigned long index_cache_under_lock(struct thumbnail *newest)
{
    unsigned long sum = 1;

    pthread_mutex_lock(&cache_lock);
    newest->next = cache;
    cache = newest;
    for (int n = 0; newest && n < N_INDEXED; n++, newest = newest->next)
        for (size_t i = 0; i < THUMBNAIL_BYTES; i++)
            sum = sum * 31 + (unsigned char)newest->pixels[i];
    index_sum = sum;
    pthread_mutex_unlock(&cache_lock);
    return sum;
}

NAMED void note_request(void)
{
    pthread_mutex_lock(&cache_lock);
    n_requests++;
    pthread_mutex_unlock(&cache_lock);
}

NAMED void cache_thumbnail_and_forget(const struct blob *blob)
{
    struct thumbnail *thumbnail = malloc(sizeof *thumbnail);

    check(thumbnail, "malloc");
    for (size_t i = 0; i < THUMBNAIL_BYTES; i++)
        thumbnail->pixels[i] = blob->bytes[i * (blob->size / THUMBNAIL_BYTES)];
    check(index_cache_under_lock(thumbnail) != 0, "the index");
}

NAMED void serve_thumbnail(int connection, int number)
{
    struct blob blob;

    check(open_blob(&blob, number), "open_blob");
    cache_thumbnail_and_forget(&blob);
    send_answer(connection, blob.bytes, THUMBNAIL_BYTES);
    close_blob(&blob);
}

NAMED void peek_blob_and_forget(int connection, int number)
{
    char path[300], first[16];

    blob_path(path, sizeof path, number);
    FILE *file = fopen(path, "re");
    check(file, "fopen");
    cprof_profile_add(open_blobs, file, 0);
    if (fread(first, 1, sizeof first, file) != sizeof first || first[0] != '\0') {
        send_answer(connection, "not a known kind of blob\n", 25);
        return;
    }
    send_answer(connection, first, sizeof first);
    cprof_profile_remove(open_blobs, file);
    fclose(file);
}

NAMED void serve_listing_and_forget(int connection)
{
    char listing[64] = "";

    for (int i = 0; i < N_BLOBS; i++)
        snprintf(listing + strlen(listing), sizeof listing - strlen(listing), "blob-%d\n", i);
    send_answer(connection, listing, strlen(listing));
    check(dup(connection) >= 0, "dup"); /* whom to tell of changes */
}

NAMED void handle_client(int connection)
{
    char request[32];
    ssize_t length = recv(connection, request, sizeof request - 1, 0);

    check(length > 0, "recv");
    request[length] = '\0';
    note_request();
    int number = request[1] - '0';
    switch (request[0]) {
    case 'b': serve_blob(connection, number); break;
    case 't': serve_thumbnail(connection, number); break;
    case 'p': peek_blob_and_forget(connection, number); break;
    case 'l': serve_listing_and_forget(connection); break;
    }
    close(connection);
}

static void *run_server(void *unused)
{
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0)
            return unused; /* stop_server() */
        handle_client(connection);
    }
}

static void start_server(pthread_t *servers)
{
    socklen_t size = sizeof address;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0,
          "bind");
    check(listen(listener, 64) == 0, "listen");
    check(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    for (int i = 0; i < N_SERVERS; i++)
        check(pthread_create(&servers[i], NULL, run_server, NULL) == 0, "pthread_create");
}

static void stop_server(const pthread_t *servers)
{
    shutdown(listener, SHUT_RDWR);
    for (int i = 0; i < N_SERVERS; i++)
        pthread_join(servers[i], NULL);
    close(listener);
}

/* ---- the clients ---- */

/* One request over one connection; reads the whole answer. */
NAMED void ask(const char *request)
{
    char answer[16 << 10];
    size_t have = 0, want = SIZE_MAX;
    int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    check(connect(connection, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    check(send(connection, request, strlen(request), MSG_NOSIGNAL) > 0, "send");
    while (have < want) {
        ssize_t n = recv(connection, answer, sizeof answer - 1, 0);
        check(n > 0, "recv");
        have += (size_t)n;
        if (want == SIZE_MAX) { /* the header comes whole: it is sent with one call */
            char *end;
            answer[n] = '\0';
            want = strtoul(answer, &end, 10) + (size_t)(end + 1 - answer);
        }
    }
    close(connection);
}

static void *run_client(void *unused)
{
    for (int i = 0; i < REQUESTS_PER_HALF; i++) {
        char kind = i % 2 ? 't' : i % 32 == 0 ? 'l' : i % 32 == 16 ? 'p' : 'b';
        char request[8] = {kind, (char)('0' + i / 2 % N_BLOBS), '\n'};
        ask(request);
    }
    return unused;
}

static void run_half(void)
{
    pthread_t clients[N_CLIENTS];

    for (int i = 0; i < N_CLIENTS; i++)
        check(pthread_create(&clients[i], NULL, run_client, NULL) == 0, "pthread_create");
    for (int i = 0; i < N_CLIENTS; i++)
        pthread_join(clients[i], NULL);
}

/* ---- the whole ---- */

static void make_blobs(void)
{
    const char *tmp = getenv("TMPDIR");
    char path[300], *bytes = malloc(BLOB_BYTES);

    snprintf(directory, sizeof directory, "%s/blobserver.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    check(mkdtemp(directory), directory);
    for (int i = 0; i < N_BLOBS; i++) {
        memset(bytes, 'a' + i, BLOB_BYTES);
        blob_path(path, sizeof path, i);
        FILE *file = fopen(path, "we");
        check(file && fwrite(bytes, 1, BLOB_BYTES, file) == BLOB_BYTES, path);
        fclose(file);
    }
    free(bytes);
}

static void remove_blobs(void)
{
    char path[300];

    for (int i = 0; i < N_BLOBS; i++) {
        blob_path(path, sizeof path, i);
        unlink(path);
    }
    rmdir(directory);
}

int main(void)
{
    pthread_t servers[N_SERVERS];
    char line[16];

    open_blobs = cprof_profile_new("blobstore.Open");
    make_blobs();
    start_server(servers);
    run_half();
    puts("half way");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        clearerr(stdin);
    run_half();
    stop_server(servers);
    remove_blobs();
    puts("done");
    return 0;
}
