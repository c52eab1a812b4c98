/* http - see http.h. */
#include "agent/http.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/agent_thread.h"
#include "agent/http_listen.h"
#include "agent/http_routes.h"
#include "agent/process.h"
#include "base/arena.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/text.h"

enum { CONNECTIONS_MAX = 8, DELTAS_MAX = CONNECTIONS_MAX - 1, TOKEN_BYTES = 512 };

static const uint64_t MS = 1000000, SEND_MS = 5000, SLOW_MS = 1000, WRITE_MS = 30000,
                      DRAIN_MS = 2000;

enum step { FREE, READ, ROUTE, WRITE, DRAIN };

struct connection {
    struct agent_work work;
    struct http_fd socket;
    enum step step;
    uint64_t since_ns;       /* when it was accepted */
    struct buffers *buffers; /* while it is not FREE */
    size_t n_head;           /* bytes of it so far, or all that came */
    char *body;              /* of the arena, body_bytes + 1; or NULL */
    size_t n_body;
    size_t n_drained;
};

struct buffers {
    struct http_exchange exchange;
    char head[HTTP_HEAD_BYTES_MAX + 1];
    struct text out; /* head of the answer */
    size_t n_out;
    char out_buffer[1024];
};

static struct connection connections[CONNECTIONS_MAX];
static struct http_state state;
static struct http_address address;
static struct http_fd listener = {.fd = -1};
static char token[TOKEN_BYTES + 1];

static void on_listener(struct agent_work *work, int ready);
static bool on_listener_finish(struct agent_work *work, uint64_t until_ns);
static void on_listener_forked(struct agent_work *work);
static void on_listener_held(struct agent_work *work);
static struct agent_work listener_work = {.fd = -1,
                                          .run = on_listener,
                                          .finish = on_listener_finish,
                                          .forked = on_listener_forked,
                                          .held = on_listener_held};
static bool is_finishing; /* who comes now waits in the kernel's queue for the next thread */

static uint64_t in_ms(uint64_t ms)
{
    return clock_mono_ns() + ms * MS;
}

/* ---- the life of a connection ---- */

static void watch_listener(void)
{
    listener_work.fd = listener.fd;
    listener_work.inode = listener.inode;
    listener_work.events = POLLIN;
    listener_work.due_ns = 0;
}

/* A child that the program forks at any moment of this drops what it finds, too: so each piece is forgotten before it
 * is unmapped. */
static void drop_memory(struct connection *connection)
{
    struct buffers *buffers = connection->buffers;
    char *body = connection->body;

    connection->buffers = NULL;
    connection->body = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    if (!buffers)
        return;
    if (body)
        arena_unmap(body, buffers->exchange.request.body_bytes + 1);
    http_exchange_drop(&buffers->exchange);
    arena_unmap(buffers, sizeof *buffers);
}

static void end(struct connection *connection)
{
    if (connection->step == FREE)
        return;
    http_fd_close(&connection->socket);
    drop_memory(connection);
    connection->step = FREE;
    connection->work.fd = -1;
    connection->work.due_ns = 0;
    state.n_connections--;
    if (listener.fd >= 0 && !is_finishing)
        watch_listener();
}

static void watch(struct connection *connection, enum step step, short events, uint64_t due_ns)
{
    connection->step = step;
    connection->work.events = events;
    connection->work.due_ns = due_ns;
}

/* ---- DRAIN ---- */

static void drain(struct connection *connection)
{
    enum { DRAINED_MAX = 4 << 20 };
    char waste[4096];
    ssize_t n;

    while ((n = sys_read(connection->socket.fd, waste, sizeof waste)) > 0)
        if ((connection->n_drained += (size_t)n) > DRAINED_MAX)
            break;
    if (n != -EAGAIN)
        end(connection);
}

static void begin_drain(struct connection *connection)
{
    sys_shutdown(connection->socket.fd, SHUT_WR);
    drop_memory(connection);
    watch(connection, DRAIN, POLLIN, in_ms(DRAIN_MS));
    drain(connection);
}

/* ---- WRITE ---- */

/* Bytes that were taken, 0 when the client is slow, or -errno. */
static ssize_t send_some(const struct connection *connection, const char *data, size_t size)
{
    const ssize_t n = sys_send(connection->socket.fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

    return n == -EAGAIN || n == -EINTR ? 0 : n;
}

static void add_head(struct connection *connection)
{
    struct buffers *buffers = connection->buffers;
    const struct http_exchange *exchange = &buffers->exchange;

    text_init(&buffers->out, buffers->out_buffer, sizeof buffers->out_buffer);
    text_addf(&buffers->out, "HTTP/1.1 %d %s\r\n", exchange->status,
              http_status_text(exchange->status));
    text_addf(&buffers->out, "Content-Type: %s\r\nContent-Length: %zu\r\n", exchange->type,
              exchange->answer.n_bytes);
    text_add(&buffers->out, "Cache-Control: no-store\r\nConnection: close\r\n");
    text_add_bytes(&buffers->out, exchange->fields.data, exchange->fields.size);
    text_add(&buffers->out, "\r\n");
}

static void write_on(struct connection *connection)
{
    struct buffers *buffers = connection->buffers;
    struct blocks *answer = &buffers->exchange.answer;
    ssize_t n = 0;

    while (buffers->n_out < buffers->out.size) {
        n = send_some(connection, buffers->out.data + buffers->n_out,
                      buffers->out.size - buffers->n_out);
        if (n <= 0)
            goto out;
        buffers->n_out += (size_t)n;
    }
    for (size_t size; buffers->exchange.request.method != HTTP_HEAD;) {
        const char *data = blocks_peek(answer, &size);
        if (!data)
            break;
        n = send_some(connection, data, size);
        if (n <= 0)
            goto out;
        blocks_skip(answer, (size_t)n);
    }
    begin_drain(connection);
    return;
out:
    if (n < 0)
        end(connection);
    else
        watch(connection, WRITE, POLLOUT, in_ms(WRITE_MS));
}

static void begin_write(struct connection *connection)
{
    add_head(connection);
    write_on(connection);
}

static void refuse(struct connection *connection, int status)
{
    http_refuse(&connection->buffers->exchange, status, http_status_text(status));
    begin_write(connection);
}

/* ---- ROUTE ---- */

static size_t n_waiting(void)
{
    size_t n = 0;

    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        n += connections[i].step == ROUTE;
    return n;
}

/* POLLRDHUP: a client that has closed, which is as good as gone. */
static void route(struct connection *connection)
{
    struct http_exchange *exchange = &connection->buffers->exchange;

    switch (http_route(exchange, &state)) {
    case HTTP_ANSWERED: begin_write(connection); return;
    case HTTP_WANTS_TURN: watch(connection, ROUTE, POLLRDHUP, in_ms(1)); return;
    case HTTP_WANTS_TIME:
        watch(connection, ROUTE, POLLRDHUP, exchange->wake_ns);
        if (n_waiting() > DELTAS_MAX) {
            http_refuse(exchange, 503,
                        "too many profiles are being collected; try again later");
            begin_write(connection);
        }
    }
}

/* ---- READ ---- */

static void begin_route(struct connection *connection)
{
    struct http_exchange *exchange = &connection->buffers->exchange;

    exchange->body = connection->body ? connection->body : "";
    exchange->body_bytes = connection->n_body;
    state.n_requests++;
    route(connection);
}

/* Bytes that came, or 0: none now, or never again, and it has been ended. */
static size_t receive(struct connection *connection, char *to, size_t room)
{
    const ssize_t n = sys_read(connection->socket.fd, to, room);

    if (n <= 0 && n != -EAGAIN)
        end(connection);
    return n > 0 ? (size_t)n : 0;
}

static void read_body(struct connection *connection)
{
    const size_t size = connection->buffers->exchange.request.body_bytes;

    while (connection->n_body < size) {
        const size_t n = receive(connection, connection->body + connection->n_body,
                                 size - connection->n_body);
        if (n == 0)
            return;
        connection->n_body += n;
    }
    begin_route(connection);
}

/* What came behind the head is the beginning of the body. */
static void begin_body(struct connection *connection, size_t n_head)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct buffers *buffers = connection->buffers;
    const struct http_request *request = &buffers->exchange.request;
    const size_t n_rest = connection->n_head - n_head;

    if (request->body_bytes == 0) {
        begin_route(connection);
        return;
    }
    connection->body = arena_map_job(request->body_bytes + 1);
    if (!connection->body) {
        refuse(connection, 503);
        return;
    }
    connection->n_body = n_rest < request->body_bytes ? n_rest : request->body_bytes;
    memcpy(connection->body, buffers->head + n_head, connection->n_body);
    if (request->expects_continue && connection->n_body < request->body_bytes)
        send_some(connection, go_on, strlen(go_on));
    read_body(connection);
}

static void take_head(struct connection *connection, size_t n_head)
{
    struct buffers *buffers = connection->buffers;
    const char next = buffers->head[n_head];

    const int status = http_parse_head(buffers->head, n_head, &buffers->exchange.request);
    buffers->head[n_head] = next; /* where the parser has put its NUL */
    if (status) {
        buffers->exchange.request.body_bytes = 0;
        refuse(connection, status);
        return;
    }
    begin_body(connection, n_head);
}

static void read_head(struct connection *connection)
{
    struct buffers *buffers = connection->buffers;

    while (connection->n_head < HTTP_HEAD_BYTES_MAX) {
        const size_t n = receive(connection, buffers->head + connection->n_head,
                                 HTTP_HEAD_BYTES_MAX - connection->n_head);
        if (n == 0)
            return;
        connection->n_head += n;
        const size_t n_head = http_head_bytes(buffers->head, connection->n_head);
        if (n_head) {
            take_head(connection, n_head);
            return;
        }
    }
    refuse(connection, 431);
}

static void read_on(struct connection *connection)
{
    if (connection->body)
        read_body(connection);
    else
        read_head(connection);
}

/* ---- what happens to a connection ---- */

static void on_deadline(struct connection *connection)
{
    switch (connection->step) {
    case READ: refuse(connection, 408); break;
    case ROUTE: route(connection); break;
    default: end(connection);
    }
}

static void on_connection(struct agent_work *work, int ready)
{
    struct connection *connection = (struct connection *)(void *)work; /* its first member */

    if (connection->step == FREE)
        return;
    if (!http_fd_is_ours(&connection->socket)) {
        end(connection);
        return;
    }
    if (!ready) {
        if (work->due_ns && work->due_ns <= clock_mono_ns())
            on_deadline(connection);
        return;
    }
    switch (connection->step) {
    case READ: read_on(connection); break;
    case ROUTE: end(connection); break; /* it has gone */
    case WRITE: write_on(connection); break;
    default: drain(connection);
    }
}

/* ---- the listener ---- */

static struct connection *free_place(void)
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (connections[i].step == FREE)
            return &connections[i];
    return NULL;
}

/* Who is still sending or being drained, for the longest; NULL: nobody for a second. */
static struct connection *slowest(void)
{
    struct connection *found = NULL;

    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *connection = &connections[i];
        if ((connection->step == READ || connection->step == DRAIN) &&
            (!found || connection->since_ns < found->since_ns))
            found = connection;
    }
    return found && found->since_ns + SLOW_MS * MS <= clock_mono_ns() ? found : NULL;
}

/* It may have sent everything while this thread did something else: then it is answered, and keeps its place. */
static void end_slow(struct connection *slow)
{
    if (slow->step == READ)
        read_on(slow);
    if (slow->step == READ) {
        refuse(slow, 408);
        end(slow);
    } else if (slow->step == DRAIN) {
        end(slow);
    }
}

/* A free place, made if it must be; NULL: look again later. */
static struct connection *make_place(void)
{
    struct connection *place = free_place(), *slow = place ? NULL : slowest();

    if (slow)
        end_slow(slow);
    return place ? place : free_place();
}

static void begin_connection(struct connection *place, struct http_fd socket)
{
    struct buffers *buffers = arena_map_job(sizeof *buffers);

    if (!buffers) {
        http_fd_close(&socket);
        return;
    }
    blocks_init(&buffers->exchange.answer);
    place->socket = socket;
    place->buffers = buffers;
    place->since_ns = clock_mono_ns();
    place->n_head = place->n_body = place->n_drained = 0;
    place->body = NULL;
    place->work.fd = socket.fd;
    place->work.inode = socket.inode;
    state.n_connections++;
    watch(place, READ, POLLIN, in_ms(SEND_MS));
    read_on(place);
}

/* Not polled meanwhile, as it stays ready. */
static void pause_listener(uint64_t ms)
{
    listener_work.events = 0; /* the work keeps the descriptor: it is known as ours */
    listener_work.due_ns = in_ms(ms);
}

static void accept_all(void)
{
    enum { BUSY_MS = 100 };

    for (;;) {
        struct connection *place = make_place();
        struct http_fd socket;
        if (!place) {
            pause_listener(BUSY_MS);
            return;
        }
        const int err = http_accept(&listener, &address, &socket);
        if (err == -EAGAIN)
            return;
        if (err == -EMFILE || err == -ENFILE || err == -ENOBUFS || err == -ENOMEM) {
            pause_listener(BUSY_MS);
            return;
        }
        if (err == -EBADF) /* the program closes: looked at again at once */
            return;
        if (err == 0)
            begin_connection(place, socket);
    }
}

/* The program has closed our descriptor (closefrom), which ended the socket: another one. */
static void reopen(void)
{
    const int err = http_listen(&address, &listener);

    if (err < 0) {
        listener_work.fd = -1;
        listener_work.due_ns = 0;
        log_warn_once("http: CPROF_HTTP: %s; the program closed the socket, no HTTP any more",
                      text_errno(-err));
        return;
    }
    watch_listener();
}

static void on_listener(struct agent_work *work, int ready)
{
    (void)work;
    (void)ready;
    is_finishing = false;
    if (listener.fd < 0)
        return;
    if (!http_fd_is_ours(&listener))
        reopen();
    if (listener.fd < 0)
        return;
    watch_listener();
    accept_all();
}

static void refuse_for_now(struct connection *connection)
{
    http_refuse(&connection->buffers->exchange, 503,
                "the process is changing its user or namespace; try again");
    begin_write(connection);
}

/* True: its answer may be through until then. */
static bool finish(struct connection *connection, uint64_t until_ns)
{
    const bool is_asking = connection->step == READ || connection->step == ROUTE;

    if (is_asking &&
        (!until_ns || (connection->step == ROUTE && connection->work.due_ns > until_ns)))
        refuse_for_now(connection);
    if (connection->step == DRAIN || !until_ns)
        end(connection);
    return connection->step != FREE;
}

static bool on_listener_finish(struct agent_work *work, uint64_t until_ns)
{
    bool is_busy = false;

    is_finishing = true;
    work->events = 0;
    work->due_ns = 0;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        is_busy |= finish(&connections[i], until_ns);
    return is_busy;
}

/* The parent serves on; what the child has are copies. */
static void on_listener_forked(struct agent_work *work)
{
    (void)work;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        end(&connections[i]);
    http_fd_close(&listener);
    listener_work.fd = -1;
    listener_work.due_ns = 0;
    is_finishing = false;
}

static void on_exit_remove(void *arg)
{
    (void)arg;
    if (listener.fd >= 0 && !process_is_borrowed())
        http_listen_remove(&address);
}

void http_end(void)
{
    if (listener.fd < 0 || agent_thread_is_running())
        return;
    on_exit_remove(NULL);
    on_listener_forked(&listener_work);
}

/* Connections that are still there are in a table that the next thread shares. */
static void on_listener_held(struct agent_work *work)
{
    (void)work;
    if (agent_thread_is_forbidden()) {
        http_end();
        return;
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (!http_fd_is_ours(&connections[i].socket))
            end(&connections[i]);
    if (listener.fd >= 0 && !http_fd_is_ours(&listener))
        reopen();
}

/* ---- starting ---- */

static void complain(const char *setting, const char *value, int err, const char *more)
{
    log_warn("http: %s=%s: %s%s; no HTTP, the program goes on", setting, value,
             text_errno(-err), more);
}

/* One line of text, without what surrounds it. */
static int read_token(const char *path)
{
    const ssize_t n = file_read_regular(path, token, sizeof token);

    if (n < 0)
        return (int)n;
    if (n == TOKEN_BYTES)
        return -E2BIG;
    token[strcspn(token, "\r\n")] = '\0';
    return *token ? 0 : -EINVAL;
}

/* False: said why not. */
static bool read_settings(const struct config *config)
{
    const char *file = config->http_token_file;
    int err = http_parse_address(config->http, &address);

    if (err < 0) {
        complain("CPROF_HTTP", config->http, err,
                 err == -EINVAL ? " (6060, addr:port or unix:/path are)" : "");
        return false;
    }
    if (*file && (err = read_token(file)) < 0) {
        complain("CPROF_HTTP_TOKEN_FILE", file, err, "");
        return false;
    }
    if (!address.is_unix && !address.is_loopback && !(config->http_allow_remote && *token)) {
        complain("CPROF_HTTP", config->http, -EPERM,
                 " (other than loopback: CPROF_HTTP_ALLOW_REMOTE=1 and CPROF_HTTP_TOKEN_FILE)");
        return false;
    }
    return true;
}

bool http_is_wanted(const struct config *config)
{
    return *config->http && strcmp(config->http, "off") != 0;
}

void http_init(const struct config *config)
{
    extern int __cxa_atexit(void (*function)(void *), void *arg, void *library);

    if (!http_is_wanted(config) || !read_settings(config))
        return;
    const bool is_served = process_is_of_serving_tree(); /* asked first: it may end meanwhile */
    const int err = http_listen(&address, &listener);
    // an ancestor has it, probably: its children need not say so, each of them
    if (err == -EADDRINUSE && is_served) {
        log_info("http: CPROF_HTTP=%s: %s by an ancestor; no HTTP", config->http,
                 text_errno(-err));
        return;
    }
    if (err < 0) {
        complain("CPROF_HTTP", config->http, err, "");
        return;
    }
    http_routes_init(config, !address.is_unix && address.is_loopback, *token ? token : NULL);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        connections[i].work = (struct agent_work){.fd = -1, .run = on_connection};
        connections[i].socket.fd = -1;
        agent_thread_add(&connections[i].work);
    }
    watch_listener();
    agent_thread_add(&listener_work);
    if (address.is_unix)
        __cxa_atexit(on_exit_remove, NULL, NULL);
}
