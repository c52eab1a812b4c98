#include "base/arena.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "base/atomic.h"
#include "tests/unit/help.h"

enum { CHUNK = 128 << 10, PAGE = 4096 };

static bool is_zero(const void *at, size_t size)
{
    const char *bytes = at;

    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

TEST_ALONE(everything_is_refused_before_a_cap_is_set)
{
    CHECK(arena_alloc(16) == NULL);
    CHECK(arena_map(PAGE) == NULL);
    CHECK_INT(arena_n_refused(), 2, "refused");
    CHECK_INT(arena_used_bytes(), 0, "used");
}

TEST_ALONE(pieces_are_zeroed_and_aligned)
{
    arena_set_cap(64 << 20, 0);
    for (size_t size = 1; size < 3000; size++) {
        char *piece = arena_alloc(size);
        const size_t alignment = size < 64 ? 16 : 64;
        if (!piece) {
            FAIL("no piece of %zu bytes", size);
            break;
        }
        CHECK_INT((uintptr_t)piece % alignment, 0, "alignment");
        CHECK(is_zero(piece, size));
        memset(piece, 0xff, size);
    }
}

static const size_t sizes[] = {1,   16,   24,   60,    64,    72,    100,
                               128, 1000, 4096, 30000, 40000, 131072};

TEST_ALONE(pieces_do_not_overlap)
{
    enum { N = 4000 };
    static unsigned char *pieces[N];
    static size_t of[N];
    uint64_t random = 3;

    arena_set_cap(128 << 20, 0);
    for (int i = 0; i < N; i++) {
        of[i] = sizes[next_random(&random) % COUNT_OF(sizes)];
        pieces[i] = arena_alloc(of[i]);
        memset(pieces[i], i % 251, of[i]);
    }
    for (int i = 0; i < N; i++)
        for (size_t k = 0; k < of[i]; k++)
            if (pieces[i][k] != i % 251) {
                FAIL("piece %d of %zu bytes changed at %zu", i, of[i], k);
                return;
            }
}

TEST_ALONE(small_pieces_waste_little)
{
    enum { N = 100000, SIZE = 48 };

    arena_set_cap(64 << 20, 0);
    for (int i = 0; i < N; i++)
        arena_alloc(SIZE);
    CHECK_AT_MOST(arena_used_bytes(), N * SIZE * 1.01 + CHUNK, "bytes for 48 byte pieces");
}

TEST_ALONE(used_bytes_never_exceed_the_cap)
{
    enum { CAP = 1 << 20 };
    size_t n_pieces = 0;

    arena_set_cap(CAP, 0);
    CHECK_INT(arena_cap_bytes(), CAP, "cap");
    while (arena_alloc(1000)) {
        n_pieces++;
        CHECK_AT_MOST(arena_used_bytes(), CAP, "used");
    }
    CHECK_AT_LEAST(n_pieces, CAP / 1024 * 0.95, "pieces");
    CHECK_INT(arena_n_refused(), 1, "refused");
    CHECK(arena_map(PAGE) == NULL || arena_used_bytes() <= CAP);
}

TEST_ALONE(the_reserve_is_for_jobs_only)
{
    enum { CAP = 1 << 20, RESERVE = 256 << 10 };

    arena_set_cap(CAP, RESERVE);
    CHECK_INT(arena_cap_bytes(), CAP, "cap");
    CHECK(arena_map(CAP - RESERVE + 1) == NULL);
    while (arena_map(PAGE))
        ;
    CHECK_INT(arena_used_bytes(), CAP - RESERVE, "used by tables");
    CHECK(arena_map_job(RESERVE + 1) == NULL);
    void *job = arena_map_job(RESERVE);
    CHECK(job != NULL);
    CHECK_INT(arena_used_bytes(), CAP, "used with the job");
    CHECK(arena_map_job(1) == NULL);
    arena_unmap(job, RESERVE);
    CHECK(arena_map(1) == NULL);
    CHECK(arena_map_job(1) != NULL);
}

TEST_ALONE(unmapped_pages_can_be_used_again)
{
    enum { CAP = 1 << 20 };

    arena_set_cap(CAP, 0);
    for (int i = 0; i < 1000; i++) {
        char *pages = arena_map(CAP - 100);
        if (!pages) {
            FAIL("round %d: refused with %zu used", i, arena_used_bytes());
            return;
        }
        CHECK_INT(arena_used_bytes(), CAP, "used");
        CHECK(pages[0] == 0);
        pages[0] = 1;
        CHECK(arena_map(1) == NULL);
        arena_unmap(pages, CAP - 100);
        CHECK_INT(arena_used_bytes(), 0, "used");
    }
    arena_unmap(NULL, 4711);
    CHECK_INT(arena_used_bytes(), 0, "unmapping nothing");
}

TEST_ALONE(absurd_sizes_are_refused)
{
    static const size_t absurd[] = {SIZE_MAX,         SIZE_MAX - 1,    SIZE_MAX - 14,
                                    SIZE_MAX - 63,    SIZE_MAX - 4094, SIZE_MAX - 4095,
                                    SIZE_MAX / 2 + 1, (size_t)1 << 47};

    arena_set_cap(SIZE_MAX / 2, 0);
    for (size_t i = 0; i < COUNT_OF(absurd); i++) {
        if (arena_alloc(absurd[i]))
            FAIL("arena_alloc(%zx) gave something", absurd[i]);
        if (arena_map(absurd[i]))
            FAIL("arena_map(%zx) gave something", absurd[i]);
        CHECK_INT(arena_used_bytes(), 0, "used");
    }
    CHECK_INT(arena_n_refused(), 2 * COUNT_OF(absurd), "refused");
}

TEST_ALONE(what_the_kernel_refuses_is_not_counted_as_used)
{
    struct rlimit old, none;

    arena_set_cap(64 << 20, 0);
    getrlimit(RLIMIT_AS, &old);
    none = (struct rlimit){4096, old.rlim_max};
    setrlimit(RLIMIT_AS, &none);
    void *piece = arena_alloc(100), *pages = arena_map(PAGE);
    setrlimit(RLIMIT_AS, &old);
    CHECK(!piece && !pages);
    CHECK_INT(arena_used_bytes(), 0, "used");
    CHECK_INT(arena_n_refused(), 2, "refused");
    CHECK(strstr(arena_refusal(), "mmap"));
    CHECK(arena_alloc(100) != NULL);
    CHECK(!arena_map((size_t)65 << 20));
    CHECK(strstr(arena_refusal(), "CPROF_MEMORY"));
}

/* ---- many at once ---- */

enum { N_THREADS = 4, N_EACH = 20000 };
static unsigned char *of_thread[N_THREADS][N_EACH];

static size_t size_of(int i, int k)
{
    return sizes[(size_t)(i * 7 + k) % 9];
}

static void take_many(int i)
{
    for (int k = 0; k < N_EACH; k++) {
        unsigned char *piece = of_thread[i][k] = arena_alloc(size_of(i, k));
        if (!piece)
            return;
        if (!is_zero(piece, size_of(i, k)))
            FAIL("thread %d: piece %d is not zero", i, k);
        memset(piece, i + 1, size_of(i, k));
    }
}

TEST_ALONE(threads_get_pieces_of_their_own)
{
    arena_set_cap(8 << 20, 0); /* not enough for all */
    in_threads(N_THREADS, take_many);
    CHECK_AT_MOST(arena_used_bytes(), 8 << 20, "used");
    CHECK_AT_LEAST(arena_n_refused(), 1, "refused");
    for (int i = 0; i < N_THREADS; i++)
        for (int k = 0; k < N_EACH && of_thread[i][k]; k++)
            for (size_t b = 0; b < size_of(i, k); b++)
                if (of_thread[i][k][b] != i + 1) {
                    FAIL("thread %d: piece %d was overwritten", i, k);
                    return;
                }
}

static void map_and_unmap(int i)
{
    (void)i;
    for (int k = 0; k < 2000; k++) {
        const size_t size = (size_t)(k % 7 + 1) * 5000;
        char *pages = arena_map(size);
        if (pages)
            pages[size - 1] = 1; /* where another thread may just have written */
        arena_unmap(pages, size);
    }
}

TEST_ALONE(threads_that_map_and_unmap_end_with_nothing_used)
{
    arena_set_cap(64 << 10, 0);
    in_threads(N_THREADS, map_and_unmap);
    CHECK_INT(arena_used_bytes(), 0, "used");
}

enum { N_IN_HANDLER = 2000 };
static unsigned char *in_handler[N_IN_HANDLER];
static volatile sig_atomic_t n_in_handler;

static void alloc_in_handler(int number)
{
    (void)number;
    if (n_in_handler == N_IN_HANDLER)
        return;
    unsigned char *piece = arena_alloc(40);
    if (piece)
        memset(piece, 0xee, 40);
    in_handler[n_in_handler++] = piece;
}

TEST_ALONE(a_handler_that_interrupts_alloc_gets_a_piece_of_its_own)
{
    enum { N = 400000, WANT_SIGNALS = 50 };
    static unsigned char *pieces[N];
    const struct itimerval often =
                               {
                                   {0, 100},
                                   {0, 100}
    },
                           never = {{0, 0}, {0, 0}};
    const struct sigaction action = {.sa_handler = alloc_in_handler, .sa_flags = SA_RESTART};
    int n = 0;

    arena_set_cap(256 << 20, 0);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (; n < N && (n < 20000 || n_in_handler < WANT_SIGNALS); n++) {
        pieces[n] = arena_alloc(40);
        memset(pieces[n], 0x11, 40);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK_AT_LEAST(n_in_handler, 1, "signals");
    for (int i = 0; i < n; i++)
        for (int b = 0; b < 40; b++)
            if (pieces[i][b] != 0x11) {
                FAIL("piece %d was overwritten", i);
                return;
            }
    for (int i = 0; i < n_in_handler; i++)
        CHECK_INT(in_handler[i][39], 0xee, "the handler's piece");
}
