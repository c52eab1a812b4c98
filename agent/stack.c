/* stack - see stack.h. */
#include "agent/stack.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/auxv.h>

#include "agent/hooks.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "base/valgrind.h"

/* ---- capture ---- */

static int (*backtrace_by_libunwind)(void **ret_pcs, int max);

int stack_init(void)
{
    if (unwind_is_supported())
        return 0;
    void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    if (library)
        backtrace_by_libunwind = (int (*)(void **, int))dlsym(library, "unw_backtrace");
    return backtrace_by_libunwind ? 0 : -ENOENT;
}

size_t stack_capture_bytes(void)
{
    return unwind_is_supported() ? 4 << 10 : 8 << 10;
}

static bool is_own(uintptr_t pc)
{
    extern const char __ehdr_start[] __attribute__((visibility("hidden")));
    extern const char etext[] __attribute__((visibility("hidden")));

    return pc - (uintptr_t)__ehdr_start <= (uintptr_t)etext - (uintptr_t)__ehdr_start;
}

/* libunwind may open files when a frame has no unwind table: no cancellation may act there, and errno may change. */
COLD size_t stack_capture_by_libunwind(uintptr_t *ret_pcs, size_t max)
{
    const int saved_errno = errno;
    int state;

    if (!backtrace_by_libunwind)
        return 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    const int n = backtrace_by_libunwind((void **)ret_pcs, (int)max);
    pthread_setcancelstate(state, NULL);
    errno = saved_errno;
    return n > 0 ? (size_t)n : 0;
}

size_t stack_keep(uintptr_t *pcs, size_t n, size_t max, bool *ret_truncated)
{
    size_t kept = 0;

    *ret_truncated = false;
    for (size_t i = 0; i < n && pcs[i]; i++) {
        if (is_own(pcs[i]) || hooks_is_return(pcs[i]))
            continue;
        if (kept == max) {
            *ret_truncated = true;
            break;
        }
        pcs[kept++] = pcs[i];
    }
    return kept;
}

size_t stack_capture_memo(const struct unwind_frame *from, uintptr_t *ret_pcs, size_t max,
                          bool *ret_truncated, struct unwind_memo **ret_memo)
{
    *ret_memo = NULL;
    const size_t n = likely(unwind_is_supported())
                         ? unwind_walk_memo(from, ret_pcs, max + STACK_OWN_FRAMES, ret_memo)
                         : stack_capture_by_libunwind(ret_pcs, max + STACK_OWN_FRAMES);

    return stack_keep(ret_pcs, n, max, ret_truncated);
}

bool stack_is_nested(void)
{
    enum { FRAMES_MAX = 256 };
    uintptr_t pcs[FRAMES_MAX];
    bool program_was_seen = false;

    if (!unwind_is_supported())
        return true;
    const size_t n = unwind_walk(unwind_here(), pcs, FRAMES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (!is_own(pcs[i]))
            program_was_seen = true;
        else if (program_was_seen)
            return true;
    }
    return n == FRAMES_MAX;
}

/* ---- room ---- */

enum { PAGE_BYTES = 4096, N_SCRATCH = 16, SCRATCH_BYTES = 64 << 10 };
static const uintptr_t PAGE_MASK = ~(uintptr_t)(PAGE_BYTES - 1);

static struct scratch {
    _Atomic(char *) base; /* mapped at first use */
    _Atomic uint32_t is_used;
} scratches[N_SCRATCH];

/* The kernel reads the new mask before it looks at `how`: EFAULT means not readable, and a stack
 * that can still grow grows.  One system call, no signal, no descriptor.  Valgrind would report each: there the word is
 * copied, which fails where a stack would have to grow. */
bool stack_is_readable(uintptr_t address)
{
    if (unlikely(valgrind_is_here()))
        return sys_is_readable((const void *)(address & ~(uintptr_t)7), sizeof address);
    return sys_sigmask(-1, (const sys_sigset *)(address & ~(uintptr_t)7), NULL) != -EFAULT;
}

/* The first page of [from, limit) that cannot be read, or `limit`. */
static uintptr_t first_gap(uintptr_t from, uintptr_t limit)
{
    for (uintptr_t page = from & PAGE_MASK; page < limit; page += PAGE_BYTES)
        if (!stack_is_readable(page))
            return page;
    return limit;
}

/* Only of the thread's own stack anything is remembered: it stays as long as the thread.  Others (of coroutines,
 * for signals) may be unmapped as soon as they are left, and their places be taken by anything.
 *
 * A thread's own stack is what reaches without a gap to where it began: glibc puts the TLS of a
 * thread on top of its stack; on the first one the kernel left random bytes.  Given up: memory right
 * below a stack that the program gave no guard page counts as part of it. */
static struct {
    uintptr_t tls, stack_top;
} first_thread;

__attribute__((constructor)) static void learn_first_thread(void)
{
    first_thread.tls = (uintptr_t)&thread_self;
    first_thread.stack_top = getauxval(AT_RANDOM);
}

static uintptr_t own_stack_top(void)
{
    const uintptr_t tls = (uintptr_t)&thread_self;

    return tls != first_thread.tls && first_thread.tls ? tls : first_thread.stack_top;
}

/* From `address` up to what is known.  A gap that was found once is asked for first: then a
 * sample on another stack costs one system call here. */
static COLD bool joins_own_stack(uintptr_t address)
{
    enum { REACH_BYTES_MAX = 8 << 20 };
    const uintptr_t top = own_stack_top();
    const uintptr_t limit = thread_self.stack_high ? thread_self.stack_low : top;

    if (address >= limit || limit - address > REACH_BYTES_MAX)
        return false;
    const uintptr_t old_gap = thread_self.stack_gap;
    if (old_gap > address && old_gap < limit && !stack_is_readable(old_gap))
        return false;
    const uintptr_t gap = first_gap(address, limit);
    if (gap < limit) {
        thread_self.stack_gap = gap;
        return false;
    }
    thread_self.stack_low = address & PAGE_MASK;
    compiler_barrier(); /* a signal handler may look in between: high is 0 still */
    thread_self.stack_high = top;
    return true;
}

bool stack_is_own(uintptr_t address)
{
    return (address >= thread_self.stack_low && address < thread_self.stack_high) ||
           joins_own_stack(address);
}

/* Each page: a guard page may be the smallest part of it. */
static COLD bool ask_for_room(uintptr_t here, size_t room)
{
    const uintptr_t low = (here - room) & PAGE_MASK;
    const bool is_own = stack_is_own(here);
    const uintptr_t known = is_own ? thread_self.stack_low : here & PAGE_MASK;

    if (first_gap(low, known) < known)
        return false;
    if (is_own && low < known)
        thread_self.stack_low = low;
    return true;
}

/* A thread on its own stack asks the kernel a few times in its life. */
bool stack_has_room(size_t room_bytes)
{
    const uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    return likely(here - room_bytes >= thread_self.stack_low &&
                  here < thread_self.stack_high) ||
           ask_for_room(here, room_bytes);
}

/* -1: all in use, or no memory. */
static int scratch_take(void)
{
    for (int i = 0; i < N_SCRATCH; i++) {
        uint32_t unused = 0;
        if (load_relaxed(&scratches[i].is_used) ||
            !cas_acq_rel(&scratches[i].is_used, &unused, 1)) /* pairs with scratch_put */
            continue;
        if (!load_relaxed(&scratches[i].base))
            store_relaxed(&scratches[i].base, arena_map(SCRATCH_BYTES));
        if (load_relaxed(&scratches[i].base))
            return i;
        store_release(&scratches[i].is_used, 0);
        return -1;
    }
    return -1;
}

static void scratch_put(int i)
{
    store_release(&scratches[i].is_used, 0); /* pairs with scratch_take */
}

bool stack_is_on_scratch(uintptr_t address)
{
    const uint32_t number = thread_self.scratch;

    return number &&
           address - (uintptr_t)load_relaxed(&scratches[number - 1].base) < SCRATCH_BYTES;
}

void stack_scratch_abandon(void)
{
    if (thread_self.scratch)
        scratch_put((int)thread_self.scratch - 1);
    thread_self.scratch = 0;
}

#if defined(__x86_64__)
/* rbp (x29) keeps the old stack, and the CFI says so: unwinders walk from one stack to the other. */
__asm__(".pushsection .text\n"
        ".type stack_switch, @function\n"
        "stack_switch:\n" /* rdi: top of the new stack, rsi: work, rdx: arg */
        ".cfi_startproc\n"
        "    push %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset %rbp, -16\n"
        "    mov %rsp, %rbp\n"
        ".cfi_def_cfa_register %rbp\n"
        "    mov %rdi, %rsp\n"
        "    mov %rdx, %rdi\n"
        "    call *%rsi\n"
        ".hidden stack_switch_return\n"
        ".globl stack_switch_return\n"
        "stack_switch_return:\n" /* where unwind.c lets a walk change stacks */
        "    mov %rbp, %rsp\n"
        "    pop %rbp\n"
        ".cfi_def_cfa %rsp, 8\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size stack_switch, . - stack_switch\n"
        ".popsection\n");
#elif defined(__aarch64__)
__asm__(".pushsection .text\n"
        ".type stack_switch, %function\n"
        "stack_switch:\n"
        ".cfi_startproc\n"
        "    stp x29, x30, [sp, #-16]!\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset x29, -16\n"
        ".cfi_offset x30, -8\n"
        "    mov x29, sp\n"
        ".cfi_def_cfa_register x29\n"
        "    mov sp, x0\n"
        "    mov x0, x2\n"
        "    blr x1\n"
        ".hidden stack_switch_return\n"
        ".globl stack_switch_return\n"
        "stack_switch_return:\n"
        "    mov sp, x29\n"
        ".cfi_def_cfa_register sp\n"
        "    ldp x29, x30, [sp], #16\n"
        ".cfi_restore x29\n"
        ".cfi_restore x30\n"
        ".cfi_def_cfa_offset 0\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size stack_switch, . - stack_switch\n"
        ".popsection\n");
#endif
__attribute__((visibility("hidden"))) void stack_switch(char *top, void (*work)(void *),
                                                        void *arg);

void stack_call_on(char *base, size_t size, void (*work)(void *arg), void *arg)
{
    stack_switch(base + size, work, arg);
}

COLD bool stack_call_on_scratch(void (*work)(void *arg), void *arg)
{
    const sys_sigset all = ~(sys_sigset)0;
    sys_sigset old;
    const int i = scratch_take();

    if (i < 0)
        return false;
    if (sys_sigmask(SIG_SETMASK, &all, &old) < 0) { /* a seccomp filter: stay off the scratch */
        scratch_put(i);
        return false;
    }
    thread_self.scratch = (uint16_t)(i + 1);
    stack_call_on(load_relaxed(&scratches[i].base), SCRATCH_BYTES, work, arg);
    thread_self.scratch = 0;
    scratch_put(i);
    sys_sigmask(SIG_SETMASK, &old, NULL);
    return true;
}
