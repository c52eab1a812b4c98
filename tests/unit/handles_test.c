#include "agent/handles.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "agent/opened.h"
#include "agent/process.h"
#include "agent/profile.h"
#include "agent/sockets.h"
#include "agent/stacktab.h"
#include "base/arena.h"
#include "tests/unit/help.h"

#include <netinet/in.h>
#include <sys/un.h>

static void set_up(void)
{
    arena_set_cap((size_t)256 << 20, 0);
    process_init();
    process_self();
    profile_init();
    stack_init();
    handles_set(HANDLES_SOCKETS | HANDLES_STREAMS);
}

static void add(int fd)
{
    handles_add(SOURCE_CONNECTION, &fd, 1);
}

static void count(int fd, struct handle handle, void *arg)
{
    (void)fd;
    *(size_t *)arg += handle.stack != 0;
}

static size_t n_known(void)
{
    size_t n = 0;

    handles_each(count, &n);
    return n;
}

static void count_stream(uintptr_t stack, void *arg)
{
    *(size_t *)arg += stack != 0;
}

static size_t n_streams(void)
{
    size_t n = 0;

    handles_each_stream(count_stream, &n);
    return n;
}

/* ---- one descriptor ---- */

TEST_ALONE(a_descriptor_is_known_from_its_opening_to_its_closing)
{
    static const int fds[] = {0, 3, 4095, 4096, 70000, (1 << 26) - 1};

    set_up();
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        CHECK(!handles_has(fds[i]));
        add(fds[i]);
        CHECK(handles_has(fds[i]));
        CHECK(!handles_has(fds[i] + 1));
        CHECK(handles_take(fds[i]).stack != 0);
        CHECK(!handles_has(fds[i]));
        CHECK_INT(handles_take(fds[i]).stack, 0, "once more");
    }
}

TEST_ALONE(numbers_beyond_the_table_are_not_followed_and_counted)
{
    set_up();
    CHECK(!handles_has(-1) && !handles_has(1 << 26) && !handles_has(INT32_MAX));
    add(1 << 26);
    add(-1); /* no descriptor at all */
    CHECK(!handles_has(1 << 26));
    CHECK_INT(thread_sum_dropped(SOURCE_CONNECTION, DROP_HANDLE_FULL), 1, "dropped");
    CHECK_INT(n_known(), 0, "known");
}

TEST_ALONE(without_memory_nothing_is_followed_and_that_is_counted)
{
    set_up();
    arena_set_cap(1, 0);
    add(5);
    CHECK(!handles_has(5));
    CHECK_INT(thread_sum_dropped(SOURCE_CONNECTION, DROP_HANDLE_FULL), 1, "dropped");
}

TEST_ALONE(what_could_not_be_closed_is_put_back_unless_the_number_is_taken)
{
    set_up();
    add(7);
    const struct handle old = handles_take(7);
    handles_put_back(7, old);
    CHECK_INT(handles_get(7).stack, old.stack, "put back");
    CHECK_INT(handles_get(7).born_s, old.born_s, "birth");
    handles_take(7);
    handles_add_inherited(7);
    const struct handle fresh = handles_get(7);
    CHECK(fresh.stack != old.stack);
    handles_put_back(7, old);
    CHECK_INT(handles_get(7).stack, fresh.stack, "of the new one");
    handles_put_back(8, (struct handle){0});
    CHECK(!handles_has(8));
}

TEST_ALONE(ranges_are_emptied_to_their_ends)
{
    static const struct {
        unsigned first, last;
        size_t n_left;
    } cases[] = {
        {5,    5,          9},
        {4095, 4096,       7},
        {0,    4,          7},
        {9,    8,          7},
        {6,    9000,       2},
        {4000, UINT32_MAX, 1},
    };
    static const int fds[] = {5, 6, 7, 8, 9, 4095, 4096, 8192, 9000, 100000};

    set_up();
    handles_add(SOURCE_CONNECTION, fds, COUNT_OF(fds));
    CHECK_INT(n_known(), COUNT_OF(fds), "known");
    for (size_t i = 0; i < COUNT_OF(cases) - 1; i++) {
        handles_take_range(cases[i].first, cases[i].last);
        if (i == 4)
            add(5); /* went with the first case */
        CHECK_INT(n_known(), cases[i].n_left, "known");
    }
    handles_take_range(cases[5].first, cases[5].last);
    CHECK_INT(n_known(), cases[5].n_left, "known");
    CHECK(handles_has(5));
}

TEST_ALONE(ghosts_go_and_what_was_opened_meanwhile_stays)
{
    set_up();
    add(9);
    const struct handle ghost = handles_get(9);
    handles_take(9);
    handles_add_inherited(9);
    handles_drop_ghost(9, ghost);
    CHECK(handles_has(9));
    handles_drop_ghost(9, handles_get(9));
    CHECK(!handles_has(9));
}

/* ---- in a child's hands ---- */

static int vfork_and(void (*work)(void))
{
    int status = 0;
    const pid_t child = vfork();

    if (child == 0) {
        work();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static void close_all(void)
{
    handles_take(5);
    handles_take_range(0, 100);
    add(6); /* known: its opening here is not ours */
}

TEST_ALONE(a_vfork_child_leaves_the_table_alone)
{
    set_up();
    add(5);
    add(6);
    const struct handle six = handles_get(6);
    thread_begin_vfork();
    CHECK_INT(vfork_and(close_all), 0, "status");
    CHECK(handles_has(5) && handles_has(6));
    CHECK_INT(handles_get(6).stack, six.stack, "stack");
}

TEST_ALONE(a_forked_child_has_a_table_of_its_own)
{
    int status;

    set_up();
    store_relaxed(&process_lends_memory, true);
    add(5);
    const pid_t child = fork();
    if (child == 0) {
        const bool has = handles_has(5);
        handles_take(5);
        _exit(has && !handles_has(5) ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(handles_has(5));
}

/* ---- contexts ---- */

TEST_ALONE(errno_is_kept)
{
    set_up();
    errno = 4242;
    add(5);
    handles_add_stream((void *)0x1000, -1, false);
    handles_add_stream((void *)0x2000, 6, true);
    handles_put_back(5, handles_take(5));
    handles_take_range(0, 10);
    handles_take_stream((void *)0x1000, -1);
    handles_take_stream((void *)0x2000, 6);
    handles_take_streams();
    CHECK_INT(errno, 4242, "errno");
}

static void on_alarm(int number)
{
    (void)number;
    add(20);
    handles_take(20);
    handles_add_stream((void *)0x9990, -1, false);
    handles_take_stream((void *)0x9990, -1);
    handles_add_stream((void *)0x9990, 22, false);
    handles_take_stream((void *)0x9990, 22);
}

TEST_ALONE(handlers_open_and_close_too)
{
    const struct itimerval often = {
        {0, 200},
        {0, 200}
    };

    set_up();
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 100000 / SCALE; i++) {
        add(21);
        CHECK(handles_take(21).stack != 0);
    }
    signal(SIGALRM, SIG_IGN);
    CHECK_INT(n_known(), 0, "known");
    CHECK_INT(n_streams(), 0, "streams");
}

/* The kernel's part: numbers are given out lowest first, to one owner at a time. */
static _Atomic uint64_t taken[2];

static int take_number(void)
{
    for (int fd = 0;; fd = (fd + 1) % 128) {
        const uint64_t bit = (uint64_t)1 << fd % 64;
        if (!(atomic_fetch_or(&taken[fd / 64], bit) & bit))
            return fd;
    }
}

/* A thread's n-th stream has an address of its own. */
static const void *stream_of(int i, int n)
{
    return (const void *)(uintptr_t)(0x10000 * (i + 1) + 0x100 * n);  // NOLINT
}

static void open_and_close(int i)
{
    uint64_t random = (uint64_t)i;
    int mine[10], n = 0, n_lost = 0;

    for (int k = 0; k < 50000 / SCALE; k++) {
        if (n < 10 && (n == 0 || next_random(&random) % 2)) {
            mine[n] = take_number();
            handles_add_stream(stream_of(i, n), mine[n], true);
            n++;
            continue;
        }
        const int fd = mine[--n];
        handles_take_stream(stream_of(i, n), fd);
        n_lost += handles_take(fd).stack == 0;
        atomic_fetch_and(&taken[fd / 64], ~((uint64_t)1 << fd % 64));
    }
    while (n) {
        n--;
        handles_take_stream(stream_of(i, n), mine[n]);
        n_lost += handles_take(mine[n]).stack == 0;
    }
    CHECK_INT(n_lost, 0, "lost");
}

TEST_ALONE(threads_that_hand_numbers_on_lose_none)
{
    set_up();
    in_threads(8, open_and_close);
    CHECK_INT(n_known(), 0, "left");
    CHECK_INT(n_streams(), 0, "streams");
}

/* ---- streams ---- */

TEST_ALONE(streams_are_known_until_they_are_closed)
{
    set_up();
    for (uintptr_t i = 1; i <= 1000; i++)
        handles_add_stream((void *)(i * 16), i % 2 ? (int)i : -1, false);
    CHECK_INT(n_streams(), 1000, "streams");
    CHECK_INT(n_known(), 0, "descriptors");
    for (uintptr_t i = 1; i <= 10; i++)
        handles_take_stream((void *)(i * 16), i % 2 ? (int)i : -1);
    handles_take_stream((void *)0x123450000, -1); /* never seen */
    handles_take_stream((void *)0x123450000, 501);
    handles_take_stream((void *)0x123450000, 1 << 26);
    CHECK_INT(n_streams(), 990, "streams");
    handles_take_streams();
    CHECK_INT(n_streams(), 0, "streams");
}

TEST_ALONE(streams_that_share_a_number_are_all_known)
{
    static void *const streams[] = {(void *)0x1000, (void *)0x2000, (void *)0x3000};

    set_up();
    for (size_t first = 0; first < COUNT_OF(streams); first++) {
        for (size_t i = 0; i < COUNT_OF(streams); i++)
            handles_add_stream(streams[i], 5, false);
        CHECK_INT(n_streams(), 3, "streams");
        for (size_t i = 0; i < COUNT_OF(streams); i++) {
            handles_take_stream(streams[(first + i) % COUNT_OF(streams)], 5);
            CHECK_INT(n_streams(), 2 - i, "streams");
        }
    }
}

TEST_ALONE(a_stream_outlives_its_number)
{
    set_up();
    handles_add_stream((void *)0x1000, 5, true);
    CHECK(handles_take(5).stack != 0);
    CHECK_INT(n_streams(), 1, "streams");
    handles_add_stream((void *)0x2000, 5, true); /* the number was given to another one */
    CHECK_INT(n_streams(), 2, "streams");
    handles_take_stream((void *)0x1000, 5);
    handles_take_stream((void *)0x2000, 5);
    CHECK_INT(n_streams(), 0, "streams");
}

TEST_ALONE(a_stream_that_is_opened_again_unseen_is_one)
{
    static const int fds[] = {5, -1};

    set_up();
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        handles_add_stream((void *)0x1000, fds[i], false);
        handles_add_stream((void *)0x1000, fds[i], false);
        CHECK_INT(n_streams(), 1, "streams");
        handles_take_stream((void *)0x1000, fds[i]);
        CHECK_INT(n_streams(), 0, "streams");
    }
}

TEST_ALONE(streams_beyond_the_table_are_known_by_their_address)
{
    set_up();
    handles_add_stream((void *)0x1000, 1 << 26, false);
    CHECK_INT(n_streams(), 1, "streams");
    handles_take_stream((void *)0x1000, 1 << 26);
    CHECK_INT(n_streams(), 0, "streams");
}

/* ---- addresses ---- */

TEST(addresses_are_written_as_people_write_them)
{
    static const struct {
        uint8_t bytes[16];
        const char *text;
    } cases[] = {
        {{[15] = 1},                                                          "[::1]:80"             },
        {{0x20, 1, 0xd, 0xb8, [15] = 5},                                      "[2001:db8::5]:80"     },
        {{0xfe, 0x80, [8] = 1, [15] = 0xff},                                  "[fe80::100:0:0:ff]:80"},
        {{0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8},                    "[1:2:3:4:5:6:7:8]:80" },
        {{0, 1, 0, 0, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8},                    "[1:0:3:4:5:6:7:8]:80" },
        {{0, 1},                                                              "[1::]:80"             },
        {{[10] = 0xff, [11] = 0xff, [12] = 10, [13] = 0, [14] = 0, [15] = 9},
         "[::ffff:10.0.0.9]:80"                                                                      },
        {{0},                                                                 "[::]:80"              },
    };
    char text[SOCKET_ADDRESS_BYTES];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
        memcpy(&in6.sin6_addr, cases[i].bytes, 16);
        sockets_format((struct sockaddr *)&in6, sizeof in6, text);
        CHECK_STR(text, cases[i].text, cases[i].text);
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(8080)};
    in.sin_addr.s_addr = htonl(0x7f000001);
    sockets_format((struct sockaddr *)&in, sizeof in, text);
    CHECK_STR(text, "127.0.0.1:8080", "inet");
    in = (struct sockaddr_in){.sin_family = AF_INET};
    sockets_format((struct sockaddr *)&in, sizeof in, text);
    CHECK_STR(text, "", "not bound");
}

TEST(unix_addresses_are_paths_or_abstract_names)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/run/x.sock"};
    const uint32_t start = offsetof(struct sockaddr_un, sun_path);
    char text[SOCKET_ADDRESS_BYTES];

    sockets_format((struct sockaddr *)&un, sizeof un, text);
    CHECK_STR(text, "/run/x.sock", "path");
    sockets_format((struct sockaddr *)&un, start, text);
    CHECK_STR(text, "", "no name");
    memcpy(un.sun_path, "\0a\0b", 4);
    sockets_format((struct sockaddr *)&un, start + 4, text);
    CHECK_STR(text, "@a@b", "abstract");
    memset(un.sun_path, 'x', sizeof un.sun_path);
    sockets_format((struct sockaddr *)&un, sizeof un, text);
    CHECK_INT(strlen(text), sizeof un.sun_path, "the longest, without a NUL");
}

TEST_ALONE(describing_what_is_no_socket_says_nothing)
{
    struct socket_labels labels;

    sockets_describe(0x7fffff, &labels);
    CHECK_INT(labels.n, 0, "closed");
    sockets_describe(2, &labels);
    CHECK_INT(labels.n, 0, "a file");
}
