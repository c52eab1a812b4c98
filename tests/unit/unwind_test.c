/* Every walk is compared, frame for frame, with libunwind's unw_step from the same registers. */
#include "agent/unwind.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <wchar.h>

#include "agent/cfi.h"
#include "agent/modules.h"
#include "agent/stack.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/compiler.h"
#include "tests/check.h"
#include "tests/unit/help.h"

#if defined(__clang__)
#define OPTIMIZED(...)
#else
#define OPTIMIZED(...) __attribute__((optimize(__VA_ARGS__)))
#endif

enum { DEPTH = 256, PAGE = 4096 };

static volatile unsigned sink;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

__attribute__((constructor)) static void start(void)
{
    arena_set_cap(64 << 20, 0);
}

/* ---- the oracle ---- */

#if defined(__aarch64__)
#define ORACLE(name)    "_Uaarch64_" #name
#define ORACLE_UL(name) "_ULaarch64_" #name
enum { UNW_IP = 30, UNW_SP = 31, UNW_CURSOR_WORDS = 250 };
#else
#define ORACLE(name)    "_Ux86_64_" #name
#define ORACLE_UL(name) "_ULx86_64_" #name
enum { UNW_IP = 16, UNW_CURSOR_WORDS = 127 };
#endif
enum { UNW_SIGNAL_FRAME = 1 };

static int (*unw_getcontext)(ucontext_t *);
static int (*unw_init)(void *cursor, ucontext_t *, int flags);
static int (*unw_step)(void *cursor);
static int (*unw_get_reg)(void *cursor, int reg, uintptr_t *ret_value);
static void (*unw_flush_cache)(void *space, uintptr_t low, uintptr_t high);
static void **unw_local_space;

static bool has_oracle(void)
{
    static bool is_tried;
    void *library = is_tried ? NULL : dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);

    is_tried = true;
    if (library) {
        unw_getcontext = (int (*)(ucontext_t *))dlsym(library, ORACLE(getcontext));
        if (!unw_getcontext) /* a macro of its header: libc's will do */
            unw_getcontext = getcontext;
        unw_init = (int (*)(void *, ucontext_t *, int))dlsym(library, ORACLE_UL(init_local2));
        unw_step = (int (*)(void *))dlsym(library, ORACLE_UL(step));
        unw_get_reg = (int (*)(void *, int, uintptr_t *))dlsym(library, ORACLE_UL(get_reg));
        unw_flush_cache =
            (void (*)(void *, uintptr_t, uintptr_t))dlsym(library, ORACLE(flush_cache));
        unw_local_space = dlsym(library, ORACLE_UL(local_addr_space));
    }
    return unw_getcontext && unw_init && unw_step && unw_get_reg && unw_flush_cache &&
           unw_local_space;
}

/* What a signal interrupted we give as its address + 1; libunwind does not. */
static bool is_signal_return(uintptr_t pc)
{
#if defined(__aarch64__)
    static const uint32_t code[] = {0xd2801168, 0xd4000001};

    return stack_is_readable(pc) && memcmp((void *)pc, code, sizeof code) == 0;
#else
    static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
    Dl_info info;

    return dladdr((void *)pc, &info) && memcmp((void *)pc, code, sizeof code) == 0;
#endif
}

/* On aarch64 it goes from the outermost frame, whose x30 nobody saved, to the same frame once more. */
static bool is_again(void *cursor, const uintptr_t *pcs, size_t n)
{
#if defined(__aarch64__)
    static uintptr_t last_sp;
    const uintptr_t before = n ? last_sp : 0;

    return unw_get_reg(cursor, UNW_SP, &last_sp) != 0 ||
           (n && pcs[n] == pcs[n - 1] && last_sp == before);
#else
    (void)cursor;
    (void)pcs;
    (void)n;
    return false;
#endif
}

static size_t oracle_walk(ucontext_t *context, int flags, uintptr_t *ret_pcs, size_t max)
{
    uintptr_t cursor[UNW_CURSOR_WORDS];
    size_t n = 0;

    unw_init(cursor, context, flags);
    while (n < max && unw_step(cursor) > 0 && unw_get_reg(cursor, UNW_IP, &ret_pcs[n]) == 0 &&
           ret_pcs[n] && !is_again(cursor, ret_pcs, n))
        n++;
    for (size_t i = n; i-- > 1;)
        ret_pcs[i] += is_signal_return(ret_pcs[i - 1]);
    return n;
}

static const char *symbol_of(uintptr_t pc)
{
    static char text[2][256];
    static int which;
    Dl_info info = {0};

    which ^= 1;
    if (!dladdr((void *)pc, &info))
        return "?";
    snprintf(text[which], sizeof text[which], "%s %s+%#lx (%#lx)", info.dli_fname,
             info.dli_sname ? info.dli_sname : "?", pc - (uintptr_t)info.dli_saddr,
             pc - (uintptr_t)info.dli_fbase);
    return text[which];
}

static void compare(const char *what, const uintptr_t *ours, size_t n_ours,
                    const uintptr_t *theirs, size_t n_theirs)
{
    CHECK_INT(n_ours, n_theirs, what);
    for (size_t i = 0; i < n_ours && i < n_theirs; i++) {
        if (ours[i] != theirs[i]) {
            FAIL("%s: frame %zu is %s, want %s", what, i, symbol_of(ours[i]),
                 symbol_of(theirs[i]));
            return;
        }
    }
    if (n_ours != n_theirs && n_ours)
        printf("# %s: last frame of ours: %s\n", what, symbol_of(ours[n_ours - 1]));
}

static volatile size_t n_frames_seen; /* by the last comparison */

static NOINLINE void compare_here(const char *what)
{
    uintptr_t ours[DEPTH], theirs[DEPTH];
    ucontext_t context;
    const size_t n_ours = unwind_walk(unwind_here(), ours, DEPTH);

    unw_getcontext(&context);
    const size_t n_theirs = oracle_walk(&context, 0, theirs, DEPTH);
    compare(what, ours, n_ours, theirs, n_theirs);
    n_frames_seen = n_ours;
    sink++;
}

/* ---- shapes of frames ---- */

static NOINLINE unsigned recurse(int depth, const char *what)
{
    if (depth)
        sink += recurse(depth - 1, what);
    else
        compare_here(what);
    return sink + 1;
}

TEST(deep_recursion)
{
    if (!has_oracle())
        SKIP("no libunwind to compare with");
    recurse(100, "deep");
    CHECK(n_frames_seen > 100);
    recurse(300, "cut at the maximum");
    CHECK_INT(n_frames_seen, DEPTH, "cut");
}

static NOINLINE void with_alloca(size_t size)
{
    volatile char *room = __builtin_alloca(size);

    room[0] = room[size - 1] = 1;
    recurse(3, "alloca");
    sink += (unsigned)room[0];
}

#define OVER_ALIGNED(name, ...) \
    static NOINLINE __VA_ARGS__ void name(int n) \
    { \
        volatile char local[64] ALIGNED(64); \
        volatile char *room = __builtin_alloca((size_t)n); \
        local[0] = room[0] = (char)n; \
        recurse(n % 5, #name); \
        sink += (unsigned)local[0] + room[0]; \
    }
OVER_ALIGNED(over_aligned, )
OVER_ALIGNED(over_aligned_unoptimized, OPTIMIZED("O0"))
OVER_ALIGNED(over_aligned_with_frame_pointer, OPTIMIZED("O2,no-omit-frame-pointer"))

static NOINLINE int aligned_with_arguments(int a, int b, int c, int d, int e, int f, int g,
                                           int h)
{
    volatile char local[128] ALIGNED(128);

    local[0] = (char)(a + b + c + d + e + f);
    recurse(2, "aligned, arguments on the stack");
    return local[0] + g + h;
}

static NOINLINE int variadic(int n, ...)
{
    va_list list;
    int sum = 0;

    va_start(list, n);
    for (int i = 0; i < n; i++)
        sum += va_arg(list, int);
    va_end(list);
    recurse(1, "variadic");
    return sum;
}

static NOINLINE OPTIMIZED("O0") int unoptimized(int n)
{
    volatile int local[20] = {n};

    if (n)
        return unoptimized(n - 1) + local[0];
    compare_here("O0");
    return local[1];
}

static NOINLINE OPTIMIZED("O2,omit-frame-pointer") int without_frame_pointer(int n)
{
    volatile int local[20] = {n};

    sink += n ? (unsigned)unoptimized(n) : recurse(1, "without frame pointer");
    return local[0] + 1;
}

static NOINLINE OPTIMIZED("O2,no-omit-frame-pointer") int with_frame_pointer(int n)
{
    volatile int local[20] = {n};

    sink += n ? (unsigned)without_frame_pointer(n - 1) : recurse(1, "with frame pointer");
    return local[0] + 1;
}

static NOINLINE unsigned called_last(int n)
{
    compare_here("tail call");
    return sink + (unsigned)n;
}
static NOINLINE OPTIMIZED("O2") unsigned calls_last(int n)
{
    sink++;
    return called_last(n + 1);
}

static int compare_by_callback(const void *a, const void *b)
{
    compare_here("qsort");
    return *(const int *)a - *(const int *)b;
}

TEST(shapes_of_frames)
{
    int numbers[] = {3, 1, 2};

    if (!has_oracle())
        SKIP("no libunwind to compare with");
    with_alloca(10);
    with_alloca(5000);
    over_aligned(7);
    over_aligned_unoptimized(7);
    over_aligned_with_frame_pointer(7);
    sink += aligned_with_arguments(1, 2, 3, 4, 5, 6, 7, 8);
    sink += variadic(3, 1, 2, 3);
    sink += with_frame_pointer(3) + with_frame_pointer(0) + without_frame_pointer(0);
    sink += calls_last(1);
    qsort(numbers, 3, sizeof *numbers, compare_by_callback);
}

TEST(after_longjmp)
{
    static jmp_buf env;

    if (!has_oracle())
        SKIP("no libunwind to compare with");
    if (setjmp(env) == 0) {
        recurse(5, "before longjmp");
        longjmp(env, 1);
    }
    recurse(2, "after longjmp");
}

/* ---- signals ---- */

static uintptr_t signal_ours[DEPTH], signal_theirs[DEPTH];
static volatile int n_compared, n_different, n_shown;

static void compare_interrupted(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    const ucontext_t *uc = context;
    const size_t n_ours = unwind_walk(unwind_interrupted(uc), signal_ours, DEPTH);
    const size_t n_theirs = oracle_walk(context, UNW_SIGNAL_FRAME, signal_theirs, DEPTH);
    n_compared++;
    if (n_ours == n_theirs && !memcmp(signal_ours, signal_theirs, n_ours * sizeof *signal_ours))
        return;
    n_different++;
    if (n_shown < 20 && ++n_shown) {
        size_t i = 0;
        while (i < n_ours && i < n_theirs && signal_ours[i] == signal_theirs[i])
            i++;
        printf("# at %s: %zu frames, want %zu, alike below %zu: %s, want %s\n",
               symbol_of(unwind_interrupted(uc).pc), n_ours, n_theirs, i,
               i < n_ours ? symbol_of(signal_ours[i]) : "the end",
               i < n_theirs ? symbol_of(signal_theirs[i]) : "the end");
    }
}

static void compare_in_handler(int signal)
{
    (void)signal;
    compare_here("in a signal handler");
    sink += (unsigned)n_compared;
}

static void handle(int signal, void *handler, int flags)
{
    struct sigaction action = {.sa_flags = flags | SA_RESTART};

    if (flags & SA_SIGINFO)
        action.sa_sigaction = (void (*)(int, siginfo_t *, void *))handler;
    else
        action.sa_handler = (void (*)(int))handler;
    sigfillset(&action.sa_mask);
    sigaction(signal, &action, NULL);
}

TEST(through_signal_frames)
{
    if (!has_oracle())
        SKIP("no libunwind to compare with");
    handle(SIGUSR1, (void *)compare_in_handler, 0);
    raise(SIGUSR1);
    CHECK(n_frames_seen > 3);

    static char room[64 << 10];
    const stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    const stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&stack, NULL);
    handle(SIGUSR1, (void *)compare_in_handler, SA_ONSTACK);
    n_frames_seen = 0;
    raise(SIGUSR1);
    CHECK(n_frames_seen > 3);
    recurse(1, "after an alternate stack");
    sigaltstack(&none, NULL);
}

/* ---- other stacks ---- */

static ucontext_t main_context, coroutine_context;

static void coroutine(void)
{
    recurse(5, "coroutine");
    CHECK(n_frames_seen >= 6 && n_frames_seen < 12);
    swapcontext(&coroutine_context, &main_context);
    recurse(2, "coroutine, resumed");
}

TEST(coroutines)
{
    if (!has_oracle())
        SKIP("no libunwind to compare with");
    const size_t size = 256 << 10;
    char *room = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    getcontext(&coroutine_context);
    coroutine_context.uc_stack.ss_sp = room;
    coroutine_context.uc_stack.ss_size = size;
    coroutine_context.uc_link = &main_context;
    makecontext(&coroutine_context, coroutine, 0);
    swapcontext(&main_context, &coroutine_context);
    recurse(2, "beside a coroutine");
    swapcontext(&main_context, &coroutine_context);
    munmap(room, size);
}

static void on_scratch(void *arg)
{
    recurse(3, arg);
}

TEST(the_agent_may_change_stacks)
{
    static char other_stack[64 << 10];

    if (!has_oracle())
        SKIP("no libunwind to compare with");
    stack_call_on(other_stack, sizeof other_stack, on_scratch,
                  (void *)(uintptr_t) "from a other_stack stack");
    CHECK(n_frames_seen > 6);
}

#if defined(__aarch64__)
/* stp x29, x30, [sp, #-16]!; mov x29, sp; mov x8, x0; mov x0, x1; blr x8; ldp x29, x30, [sp], #16; ret */
static const uint32_t jit_code[] = {0xa9bf7bfd, 0x910003fd, 0xaa0003e8, 0xaa0103e0,
                                    0xd63f0100, 0xa8c17bfd, 0xd65f03c0};
#else
/* push %rbp; mov %rsp, %rbp; mov %rdi, %rax; mov %rsi, %rdi; call *%rax; pop %rbp; ret */
static const uint8_t jit_code[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x89, 0xf8,
                                   0x48, 0x89, 0xf7, 0xff, 0xd0, 0x5d, 0xc3};
#endif

#if defined(__aarch64__)
static NOINLINE void count_here(const char *what)
{
    uintptr_t pcs[DEPTH];

    n_frames_seen = unwind_walk(unwind_here(), pcs, DEPTH);
    sink += (unsigned)(uintptr_t)what;
}
#endif

TEST(code_without_tables_is_passed_by_frame_pointer)
{
    if (!has_oracle())
        SKIP("no libunwind to compare with");
    uint8_t *code =
        mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, jit_code, sizeof jit_code);
    CHECK(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0);
    __builtin___clear_cache((char *)code, (char *)code + sizeof jit_code);
    void (*call)(void (*)(const char *), const char *) = (void *)code;
    compare_here("without generated code");
    const size_t n = n_frames_seen;
#if defined(__aarch64__) /* libunwind stops there */
    call(count_here, "through generated code");
#else
    call(compare_here, "through generated code");
#endif
    CHECK_INT(n_frames_seen, n + 1, "one frame more");
    munmap(code, PAGE);
}

/* ---- more and more of them ---- */

enum { N_CALLS = 8192 };
void many_calls(void (*called)(void));

#if defined(__aarch64__)
__asm__(".pushsection .text\n"
        ".globl many_calls\n"
        ".type many_calls, %function\n"
        "many_calls:\n"
        ".cfi_startproc\n"
        "stp x29, x30, [sp, -32]!\n"
        ".cfi_def_cfa_offset 32\n"
        ".cfi_offset 29, -32\n"
        ".cfi_offset 30, -24\n"
        "str x19, [sp, 16]\n"
        ".cfi_offset 19, -16\n"
        "mov x19, x0\n"
        ".rept 8192\n"
        "blr x19\n"
        ".endr\n"
        "ldr x19, [sp, 16]\n"
        "ldp x29, x30, [sp], 32\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size many_calls, . - many_calls\n"
        ".popsection\n");
#else
__asm__(".pushsection .text\n"
        ".globl many_calls\n"
        ".type many_calls, @function\n"
        "many_calls:\n"
        ".cfi_startproc\n"
        "push %rbx\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset 3, -16\n"
        "mov %rdi, %rbx\n"
        ".rept 8192\n"
        "call *%rbx\n"
        ".endr\n"
        "pop %rbx\n"
        ".cfi_def_cfa_offset 8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size many_calls, . - many_calls\n"
        ".popsection\n");
#endif

static struct {
    uintptr_t outer; /* where the frame above many_calls goes on */
    uintptr_t last;  /* of the calls */
    size_t depth, n_calls, n_wrong;
} many;

static NOINLINE void one_of_many(void)
{
    uintptr_t pcs[DEPTH];
    const size_t n = unwind_walk(unwind_here(), pcs, DEPTH);

    if (many.n_calls++ == 0) {
        many.outer = pcs[1];
        many.depth = n;
    } else if (n != many.depth || pcs[1] != many.outer || pcs[0] <= many.last ||
               pcs[0] - many.last > 4) {
        many.n_wrong++;
    }
    many.last = pcs[0];
}

TEST(the_cache_grows_with_what_is_asked_for)
{
    size_t before = 0;

    /* Two rules of the walk may have the same place: it is asked for more room, once or twice. */
    for (int round = 0; round < 4; round++) {
        before = unwind_n_rules();
        for (int i = 0; i < 1000; i++) /* the same walk */
            one_of_many();
    }
    CHECK_INT(unwind_n_rules(), before, "what is known needs no room");
    CHECK_AT_MOST(before, N_CALLS / 2, "what the other tests asked for");
    for (int round = 0; round < 3; round++) {
        many.n_calls = many.last = many.n_wrong = 0;
        many_calls(one_of_many);
        CHECK_INT(many.n_calls, N_CALLS, "calls");
        CHECK_INT(many.n_wrong, 0,
                  "walks that are not like the first, while the cache grew or after");
    }
    CHECK_AT_LEAST(unwind_n_rules(), N_CALLS, "rules");
}

static void *thread_main(void *arg)
{
    recurse(4, "thread");
    CHECK(n_frames_seen >= 6 && n_frames_seen < 12);
    return arg;
}

TEST(thread_ends_at_clone)
{
    pthread_t thread;

    if (!has_oracle())
        SKIP("no libunwind to compare with");
    pthread_create(&thread, NULL, thread_main, NULL);
    pthread_join(thread, NULL);
}

/* ---- interrupted anywhere ---- */

static int by_value(const void *a, const void *b)
{
    return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

static NOINLINE void work(unsigned seed)
{
    static int numbers[300];
    static char text[3000], copy[3000];

    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        numbers[i] = (int)(seed = seed * 1103515245 + 12345);
    qsort(numbers, COUNT_OF(numbers), sizeof *numbers, by_value);
    for (int i = 0; i < 40; i++) {
        snprintf(text, sizeof text, "%d %g %s %-30d", numbers[i], numbers[i] / 7.0, "words", i);
        sink += (unsigned)strtod(text, NULL);
        char *piece = malloc(10 + seed % 5000);
        memset(piece, i, 10);
        memcpy(copy, text, sizeof copy);
        sink += getenv("NOT_SET_AT_ALL") != NULL;
        sink += (unsigned)strlen(copy) + memcmp(copy, text, sizeof copy);
        free(piece);
        seed = seed * 69069 + 1;
    }
}

TEST(interrupted_anywhere)
{
    enum { WANT_COMPARED = 2000 };

    if (!has_oracle())
        SKIP("no libunwind to compare with");
    if (WITH_ASAN || WITH_TSAN)
        SKIP("sanitizers deliver signals later, with a context that is gone");
    const struct itimerval every =
                               {
                                   {0, 700},
                                   {0, 700}
    },
                           off = {{0, 0}, {0, 0}};
    n_compared = n_different = n_shown = 0;
    handle(SIGALRM, (void *)compare_interrupted, SA_SIGINFO);
    setitimer(ITIMER_REAL, &every, NULL);
    for (unsigned seed = 1; n_compared < WANT_COMPARED && seed < 1000000; seed++)
        work(seed);
    setitimer(ITIMER_REAL, &off, NULL);
    printf("# %d of %d interrupted stacks differ\n", n_different, n_compared);
    CHECK_AT_LEAST(n_compared, WANT_COMPARED, "stacks");
    CHECK(n_different * 200 <= n_compared);
}

static NOINLINE void realigned(size_t n)
{
    volatile char local[64] ALIGNED(64);
    volatile char *room = __builtin_alloca(n);

    for (size_t i = 0; i < n; i++)
        room[i] = local[i] = (char)(getenv("NOT_SET") != NULL);
    sink += (unsigned)local[0] + room[0];
}

/* libunwind blocks all signals while it works, so that none of it may run under the trap flag.
 * Each instruction of a stretch of code, by the trap flag: prologues, PLT stubs, lazy binding. */
static void single_step(bool is_on)
{
#if defined(__x86_64__)
    if (is_on)
        __asm__ volatile("pushf; orl $0x100, (%%rsp); popf" ::: "cc", "memory");
    else
        __asm__ volatile("pushf; andl $~0x100, (%%rsp); popf" ::: "cc", "memory");
#else
    (void)is_on;
#endif
}

TEST(interrupted_everywhere)
{
    static int numbers[] = {5, 2, 9, 1};
    char text[100];

#if !defined(__x86_64__)
    SKIP("only x86-64 has a trap flag that a program can set");
#endif
    if (!has_oracle())
        SKIP("no libunwind to compare with");
    if (WITH_ASAN || WITH_TSAN)
        SKIP("sanitizers deliver signals later, with a context that is gone");
    n_compared = n_different = n_shown = 0;
    handle(SIGTRAP, (void *)compare_interrupted, SA_SIGINFO);
    single_step(true);
    qsort(numbers, COUNT_OF(numbers), sizeof *numbers, by_value);
    realigned(20);
    snprintf(text, sizeof text, "%g", sink / 3.0);
    sink += (unsigned)strcspn(text, "xyz") + (int)wcslen(L"bound lazily");
    single_step(false);
    signal(SIGTRAP, SIG_DFL);
    printf("# %d of %d single steps differ\n", n_different, n_compared);
    CHECK(n_compared > 1000);
    CHECK(n_different * 200 <= n_compared);
}

/* ---- stacks that are no stacks ---- */

static uint64_t random_state = 88172645463325252;
static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Something that a corrupt stack may hold: code, stack, small numbers, noise. */
static uintptr_t garbage(const char *room, size_t size)
{
    switch (random_next() % 6) {
    case 0: return (uintptr_t)qsort + random_next() % 4096;
    case 1: return (uintptr_t)recurse + random_next() % 1024;
    case 2:
    case 3: return (uintptr_t)room + random_next() % (size + PAGE);
    case 4: return random_next() % 100;
    default: return random_next();
    }
}

TEST(corrupt_stacks_end_walks)
{
    enum { N_PAGES = 3, N_WORDS = N_PAGES * PAGE / 8 };
    uintptr_t pcs[DEPTH];
    size_t n_frames = 0;
    char *room =
        mmap(NULL, (N_PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t *words = (uintptr_t *)(room + PAGE);

    CHECK(mprotect(words, N_PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
    for (int round = 0; round < 3000; round++) {
        for (size_t i = 0; i < N_WORDS; i++)
            words[i] = garbage((char *)words, N_PAGES * PAGE);
        for (int i = 0; i < 10; i++) {
            const struct unwind_frame from = {
                .pc = garbage((char *)words, N_PAGES * PAGE),
                .sp = (uintptr_t)words + random_next() % (N_PAGES * PAGE + 64) / 8 * 8,
                .bp = garbage((char *)words, N_PAGES * PAGE),
                .bx = garbage((char *)words, N_PAGES * PAGE),
                .is_exact = random_next() % 2,
            };
            n_frames += unwind_walk(from, pcs, DEPTH);
        }
    }
    printf("# %zu frames in 30000 corrupt stacks\n", n_frames);
    munmap(room, (N_PAGES + 2) * PAGE);
}

/* ---- objects that come and go ---- */

static void write_library(const char *path, int frame_bytes)
{
    char command[512];

    snprintf(command, sizeof command,
             "echo 'void call(void (*f)(const char *)) { volatile char room[%d]; room[0] = 1; "
             "f(\"unloadable\"); room[1] = 2; }' | ${CC-gcc} -O2 -shared -fPIC -xc - -o %s",
             frame_bytes, path);
    CHECK_INT(system(command), 0, "gcc");
}

static void walk_through_library(int i)
{
    char path[64];

    snprintf(path, sizeof path, "/tmp/unwind_test_%d_%d.so", getpid(), i);
    write_library(path, 200 + 200 * (i & 1));
    void *library = dlopen(path, RTLD_NOW);
    CHECK(library != NULL);
    if (library) {
        void (*call)(void (*)(const char *)) =
            (void (*)(void (*)(const char *)))dlsym(library, "call");
        call(compare_here);
        call(compare_here);
        dlclose(library);
        unw_flush_cache(*unw_local_space, 0, 0); /* libunwind does not notice */
        modules_on_unload();
    }
    unlink(path);
}

TEST(unloaded_code_is_forgotten)
{
    if (!has_oracle() || system("${CC-gcc} --version >/dev/null 2>&1") != 0)
        return;
    for (int i = 0; i < 4; i++)
        walk_through_library(i);
}

TEST(unloaded_code_stays_forgotten_when_the_low_bits_of_the_epoch_come_again)
{
    if (!has_oracle() || system("${CC-gcc} --version >/dev/null 2>&1") != 0)
        return;
    for (int i = 0; i < 4; i++) {
        const uint32_t epoch = modules_epoch();
        walk_through_library(i);
        while (modules_epoch() != epoch + (1 << 16))
            modules_on_unload();
    }
}

/* ---- an object that is unmapped meanwhile ---- */

enum { OBJECT_PAGES = 4 };
static char *half_gone; /* an object that is loaded, says the loader; NULL: none */
static char *tables_of_half_gone;

/* In front of libc's. */
int _dl_find_object(void *pc, struct dl_find_object *ret_object)
{
    static int (*in_libc)(void *, struct dl_find_object *);

    if (half_gone && (uintptr_t)pc - (uintptr_t)half_gone < OBJECT_PAGES * PAGE) {
        static struct link_map map;
        *ret_object = (struct dl_find_object){
            .dlfo_map_start = half_gone,
            .dlfo_map_end = half_gone + OBJECT_PAGES * PAGE,
            .dlfo_link_map = &map,
            .dlfo_eh_frame = tables_of_half_gone,
        };
        return 0;
    }
    if (!in_libc)
        in_libc = (int (*)(void *, struct dl_find_object *))dlsym(RTLD_NEXT, "_dl_find_object");
    return in_libc ? in_libc(pc, ret_object) : -1;
}

/* From code without tables to a frame that the frame pointer leads to. */
static void walk_by_frame_pointer(const char *what, bool is_exact)
{
    uintptr_t words[8] = {0}, pcs[DEPTH];
    const uintptr_t pc = (uintptr_t)half_gone + 100;

    words[0] = is_exact ? pc : 0; /* looks like the return address of a leaf (aarch64: bx) */
    words[3] = pc;
    const struct unwind_frame from = {
        .pc = 0x10000, /* nothing is there */
        .sp = (uintptr_t)&words[0],
        .bp = (uintptr_t)&words[2],
        .bx = words[0],
        .is_exact = is_exact,
    };
    modules_on_unload(); /* the same pc again */
    CHECK_INT(unwind_walk(from, pcs, DEPTH), 1, what);
    CHECK(pcs[0] == pc);
}

TEST_ALONE(a_guessed_pc_in_an_object_that_goes_away_is_survived)
{
    char *room = mmap(NULL, OBJECT_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    half_gone = room;
    tables_of_half_gone = room + PAGE;
    walk_by_frame_pointer("all of it is gone", false);
    walk_by_frame_pointer("all of it is gone, a leaf", true);
    CHECK(mprotect(room, PAGE, PROT_READ) == 0);
    walk_by_frame_pointer("its tables are gone", false);
    half_gone = NULL;
}

/* ---- every FDE of big files ---- */

struct corpus {
    size_t n_rules, n_unknown;
};

static int32_t table_word(const uint8_t *table, size_t i)
{
    int32_t word;

    memcpy(&word, table + i * 4, sizeof word);
    return word;
}

/* Up to 40 addresses spread over the code of each FDE. */
static void try_all(const struct cfi_image *image, struct corpus *ret_corpus)
{
    uint32_t n;
    const uint8_t *table = image->header + 12;

    memcpy(&n, image->header + 8, sizeof n);
    for (uint32_t i = 0; i + 1 < n; i++) {
        const uintptr_t start = (uintptr_t)image->header + (uintptr_t)table_word(table, 2 * i);
        const uintptr_t end =
            (uintptr_t)image->header + (uintptr_t)table_word(table, 2 * i + 2);
        const uintptr_t every = (end - start) / 40 + 1;
        for (uintptr_t pc = start; pc < end; pc += every) {
            ret_corpus->n_rules++;
            ret_corpus->n_unknown += cfi_find(image, pc).cfa == CFI_UNKNOWN;
        }
    }
}

static void try_file(const char *path)
{
    struct stat st;
    struct corpus corpus = {0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    const uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    const Elf64_Ehdr *elf = (const void *)file;
    const Elf64_Phdr *segments = (const void *)(file + elf->e_phoff);
    for (int i = 0; i < elf->e_phnum; i++) {
        if (segments[i].p_type == PT_GNU_EH_FRAME) {
            const struct cfi_image image = {file + segments[i].p_offset, file + st.st_size,
                                            file, file + st.st_size};
            try_all(&image, &corpus);
        }
    }
    munmap((void *)(uintptr_t)file, (size_t)st.st_size);
    printf("# %s: %zu of %zu rules unknown\n", path, corpus.n_unknown, corpus.n_rules);
    CHECK(corpus.n_unknown * 200 <= corpus.n_rules);
}

TEST(tables_of_big_files)
{
#if defined(__aarch64__)
    try_file("/lib/libc.so.6"); /* below the prefix of a cross compiler */
    try_file("/lib/libstdc++.so.6");
    try_file("/lib/aarch64-linux-gnu/libc.so.6");
    try_file("/lib/ld-linux-aarch64.so.1");
    try_file("/usr/lib/aarch64-linux-gnu/libstdc++.so.6");
#else
    try_file("/lib/x86_64-linux-gnu/libc.so.6");
    try_file("/lib64/ld-linux-x86-64.so.2");
    try_file("/usr/lib/x86_64-linux-gnu/libstdc++.so.6");
    try_file("/usr/lib/x86_64-linux-gnu/libcrypto.so.3");
    try_file("/usr/bin/python3.11");
    try_file("/usr/lib/gcc/x86_64-linux-gnu/12/cc1");
#endif
}

/* ---- time; printed, not judged ---- */

static NOINLINE unsigned measure(int depth)
{
    uintptr_t pcs[DEPTH];
    enum { ROUNDS = 20000 };
    size_t n = 0;

    if (depth) {
        sink += measure(depth - 1);
        return sink + 1;
    }
    unwind_walk(unwind_here(), pcs, DEPTH);
    const uint64_t start_ns = now_ns();
    for (int i = 0; i < ROUNDS; i++)
        n += unwind_walk(unwind_here(), pcs, DEPTH);
    printf("# warm: %.2f ns a frame, %zu frames\n", (double)(now_ns() - start_ns) / (double)n,
           n / ROUNDS);
    const uint64_t cold_ns = now_ns();
    for (int i = 0; i < ROUNDS / 20; i++) {
        modules_on_unload();
        n = unwind_walk(unwind_here(), pcs, DEPTH);
    }
    printf("# after an unload: %.0f ns a walk\n", (double)(now_ns() - cold_ns) / (ROUNDS / 20));
    return sink;
}

/* Rules of 2000 places all over libc, none of them seen before: one step of each. */
static void measure_cold(void)
{
    enum { N_PLACES = 2000 };
    const uintptr_t code = (uintptr_t)dlsym(RTLD_DEFAULT, "abort");
    uintptr_t pc;

    for (int round = 0; round < 2; round++) {
        struct unwind_frame from = unwind_here();
        modules_on_unload();
        const uint64_t start_ns = now_ns();
        for (uintptr_t i = 0; i < N_PLACES; i++) {
            from.pc = code + i * 37 * 16 % 1000003;
            sink += (unsigned)unwind_walk(from, &pc, 1);
        }
        printf("# cold, %s: %.0f ns a rule\n",
               round ? "tables in the cache" : "tables not touched yet",
               (double)(now_ns() - start_ns) / N_PLACES);
    }
}

#define CHAIN_LINK(n, next) \
    static NOINLINE unsigned chain##n(int depth) \
    { \
        volatile char room[8 * n + 8]; \
        room[0] = 1; \
        sink += next(depth); \
        return sink + (unsigned)room[0]; \
    }
CHAIN_LINK(1, measure)
CHAIN_LINK(2, chain1)
CHAIN_LINK(3, chain2)
CHAIN_LINK(4, chain3)
CHAIN_LINK(5, chain4)
CHAIN_LINK(6, chain5)
CHAIN_LINK(7, chain6)
CHAIN_LINK(8, chain7)

TEST(time_per_frame)
{
    measure_cold();
    sink += measure(65);
    sink += chain8(0);
}
