/* The program of handles_*.cc, which differ in how they are linked: one scenario per argument.  What it prints is the same
 * with and without rules. */
#include <setjmp.h>
#include <ucontext.h>

#include <complex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "handles.h"
#include "victim.h"

extern "C" { /* plain names in the profiles */

static void print(long double value)
{
    printf("%.20Lg\n", value);
}

NAMED static void passes_arguments(void)
{
    large big;

    for (int i = 0; i < 20; i++)
        big.words[i] = 1000 + i;
    print((long double)opens_many(1001, 2, -3, 4, 5, 6, 7, -8, 9, 10, 11));
    print(opens_doubles(1002, 1.5, 2.25, 3.125, -4, 5, 6, 7, 8, 9.5, 10.75, 0.5f));
    print((long double)opens_varargs(1003, "ldldldldldldldldld", 1L, 2.0, 3L, 4.0, 5L, 6.0, 7L,
                                     8.0, 9L, 10.0, 11L, 12.0, 13L, 14.0, 15L, 16.0, 17L,
                                     18.0));
    print((long double)opens_on_stack(big, 1004));
    print((long double)opens_by_stack_argument(1, 2, 3, 4, 5, 6, 7, 8, 9, 1005));
}

NAMED static void takes_results(void)
{
    const two_longs longs = opens_two_longs(2001);
    const two_doubles doubles = opens_two_doubles(2002);
    const four_doubles four = opens_four_doubles(2010);
    const long_double_mix mix = opens_mix(2003);
    const large large = opens_large(2004);
    const _Complex long double complex = opens_complex(2006);
    const __int128 wide = opens_int128(2008);

    printf("%ld %ld\n", longs.a, longs.b);
    print(doubles.a), print(doubles.b);
    print(four.a), print(four.b), print(four.c), print(four.d);
    printf("%ld ", mix.a), print(mix.b);
    for (long word : large.words)
        printf("%ld ", word);
    print(opens_long_double(2005));
    print(__real__ complex), print(__imag__ complex);
    print(opens_float(2007));
    printf("%lx %lx\n", (long)(wide >> 64), (long)wide);
    const int result = opens_and_keeps_errno(2009);
    printf("%d %d\n", result, errno);
}

NAMED static handle *opens(const char *name)
{
    handle *made = NULL;

    return handle_open(name, &made) == 0 ? made : NULL;
}

/* Stays open: one of each kind that could not be closed, and the last of three. */
NAMED static void opens_and_closes(void)
{
    handle *odd = opens("odd"), *even = opens("even");

    printf("%d %d %d\n", opens("") != NULL, handle_close(odd), handle_close(even));
    handle_drop(handle_new(4));
    printf("%d\n", handle_new(0) != NULL);
    handle *grown = handle_grow(handle_grow(handle_new(6), 2, 8), 3, 16);
    printf("%ld\n", grown->number);
}

struct context {
    jmp_buf *jump;
    int depth;
};

static void throws_on(void *)
{
    opens_and_throws(3001);
}

static void throws_int(void *)
{
    throw 5;
}

static void jumps(void *arg)
{
    longjmp(*((context *)arg)->jump, 1);
}

static void goes_deeper(void *arg)
{
    context *context = (struct context *)arg;

    if (context->depth-- > 0)
        opens_and_calls(4000 + context->depth, goes_deeper, context);
}

NAMED static void throws_and_jumps(void)
{
    static volatile int n_caught;
    jmp_buf jump;
    context context = {&jump, 0};

    for (int i = 0; i < 1000; i++) {
        try {
            opens_and_calls(3000, throws_on, NULL);
        } catch (const std::runtime_error &error) {
            n_caught += strcmp(error.what(), "thrown 3001") == 0;
        }
        try {
            opens_and_calls(3002, throws_int, NULL);
        } catch (int five) {
            n_caught += five == 5;
        }
        if (setjmp(jump) == 0)
            opens_and_calls(3003, jumps, &context);
        else
            n_caught++;
    }
    printf("%d\n", (int)n_caught);
}

NAMED static void recurses(void)
{
    context context = {NULL, 100};

    opens_and_calls(4999, goes_deeper, &context);
    printf("%d\n", context.depth);
}

NAMED static void in_thread(long number)
{
    for (long i = 0; i < 2000; i++) {
        handle *even = handle_new(2);
        handle_drop(even);
        if (i % 100 == 0)
            opens_two_longs(number * 100000 + i);
    }
}

NAMED static void in_threads(void)
{
    std::vector<std::thread> threads;

    for (long i = 1; i <= 4; i++)
        threads.emplace_back(in_thread, i);
    for (auto &thread : threads)
        thread.join();
    puts("joined");
}

static volatile sig_atomic_t n_signals;

static void on_signal(int)
{
    static long key = 700000;

    opens_two_longs(key++);
    n_signals = n_signals + 1;
}

NAMED static void in_signal_handlers(void)
{
    struct sigaction action = {};
    const itimerval often =
                        {
                            {0, 1000},
                            {0, 1000}
    },
                    never = {};

    action.sa_handler = on_signal;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    while (n_signals < 200)
        opens_int128(700000 - 1);
    setitimer(ITIMER_REAL, &never, NULL);
    puts("interrupted");
}

/* A stack that ends with its mapping, right above the caller's frame. */
static ucontext_t main_context, small_context;

static void on_small_stack(void)
{
    opens_two_longs(5001);
    print((long double)opens_many(5002, 2, -3, 4, 5, 6, 7, -8, 9, 10, 11));
}

NAMED static void at_the_end_of_a_stack(void)
{
    const size_t size = 256 << 10;
    char *map = (char *)mmap(NULL, size + 4096, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    mprotect(map + size, 4096, PROT_NONE);
    getcontext(&small_context);
    small_context.uc_stack.ss_sp = map;
    small_context.uc_stack.ss_size = size;
    small_context.uc_link = &main_context;
    makecontext(&small_context, on_small_stack, 0);
    swapcontext(&main_context, &small_context);
    puts("back");
}

/* Calls by a pointer in read-only data, and through one that compares equal to itself. */
static long (*const pointers[])(long) = {opens_inside};

NAMED static void by_pointers(void)
{
    long (*const volatile *table)(long) = pointers;
    long (*pointer)(long) = opens_inside;

    printf("%ld %d\n", table[0](6001), table[0] == pointer);
    printf("%ld\n", pointer(6002));
}

NAMED static void in_a_vfork_child(void)
{
    handle *kept = opens("kept open");
    const pid_t child = vfork();

    if (child == 0) {
        opens_two_longs(8001);
        handle_close(kept); /* an odd number: stays open for the parent */
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%d\n", status);
}

NAMED static void cancelled_inside(void)
{
    std::vector<pthread_t> threads(3);

    for (auto &thread : threads) {
        pthread_create(
            &thread, NULL,
            [](void *) -> void * {
                opens_and_calls(
                    9001, [](void *) { pause(); }, NULL);
                return NULL;
            },
            NULL);
        pthread_cancel(thread);
        void *result;
        pthread_join(thread, &result);
        puts(result == PTHREAD_CANCELED ? "cancelled" : "returned");
    }
}

} /* extern "C" */

int main(int, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"arguments",  passes_arguments     },
        {"results",    takes_results        },
        {"handles",    opens_and_closes     },
        {"exceptions", throws_and_jumps     },
        {"recursion",  recurses             },
        {"threads",    in_threads           },
        {"signals",    in_signal_handlers   },
        {"stack",      at_the_end_of_a_stack},
        {"pointers",   by_pointers          },
        {"vfork",      in_a_vfork_child     },
        {"cancel",     cancelled_inside     },
    };
    for (const auto &scenario : scenarios)
        for (char **wanted = argv + 1; *wanted; wanted++)
            if (strcmp(scenario.name, *wanted) == 0)
                scenario.run();
    return 0;
}
