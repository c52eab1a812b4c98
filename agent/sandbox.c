/* sandbox - see sandbox.h. */
#include "agent/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/agent_thread.h"
#include "agent/apart.h"
#include "agent/config.h"
#include "agent/descriptors.h"
#include "agent/dump.h"
#include "agent/hooks.h"
#include "agent/http.h"
#include "agent/process.h"
#include "agent/sockets.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/sys.h"

/* What ends when a call is forbidden. */
enum part {
    START = 0,       /* nothing: made before main() only */
    AGENT = 1 << 0,  /* everything */
    LISTS = 1 << 1,  /* descriptors.h */
    LABELS = 1 << 2, /* sockets.h */
    RULES = 1 << 3,  /* hooks.h; and the start of an agent that is off (bypass.h) */
    THREAD = 1 << 4, /* agent_thread.h, http.h */
    APART = 1 << 5,  /* apart.h */
    LINKS = 1 << 6,  /* dump.h; being refused is enough */
};

/* Every system call of ours (test_gates.py compares), and one that is made for us: rt_sigreturn after a handler. */
static const struct call {
    const char *name;
    int number;
    uint32_t parts; /* enum part */
} calls[] = {
#define CALL(call, needed_by) \
    { \
        .name = #call, .number = SYS_##call, .parts = (needed_by) \
    }
    CALL(mmap, AGENT),
    CALL(munmap, AGENT),
    CALL(madvise, AGENT),
    CALL(openat, AGENT),
    CALL(close, AGENT),
    CALL(read, AGENT),
    CALL(pread64, AGENT),
    CALL(lseek, AGENT),
    CALL(write, AGENT),
    CALL(fcntl, AGENT),
    CALL(newfstatat, AGENT),
    CALL(mkdirat, AGENT),
    CALL(faccessat, AGENT),
    CALL(renameat, AGENT),
    CALL(unlinkat, AGENT),
    CALL(readlinkat, AGENT),
    CALL(getpid, AGENT),
    CALL(getppid, AGENT),
    CALL(gettid, AGENT),
    CALL(tgkill, AGENT),
    CALL(getrandom, AGENT),
    CALL(rt_sigprocmask, AGENT),
    CALL(rt_sigpending, AGENT),
    CALL(rt_sigtimedwait, AGENT),
    CALL(rt_sigaction, AGENT),
    CALL(rt_sigreturn, AGENT),
    CALL(nanosleep, AGENT),
    CALL(clock_gettime, AGENT),
    CALL(process_vm_readv, AGENT),
    CALL(sigaltstack, AGENT),
    CALL(futex, AGENT),
    CALL(getdents64, LISTS),
    CALL(getsockname, LABELS),
    CALL(getpeername, LABELS),
    CALL(getsockopt, LABELS | THREAD),
    CALL(mprotect, RULES),
    CALL(ppoll, THREAD),
    CALL(pipe2, THREAD),
    CALL(prctl, THREAD),
    CALL(socket, THREAD),
    CALL(setsockopt, THREAD),
    CALL(fchmod, THREAD),
    CALL(connect, THREAD),
    CALL(bind, THREAD),
    CALL(listen, THREAD),
    CALL(accept4, THREAD),
    CALL(geteuid, THREAD),
    CALL(sendto, THREAD),
    CALL(shutdown, THREAD),
    CALL(clone, THREAD | APART),
    CALL(exit, THREAD | APART),
    {"close_range", 436, THREAD | APART}, /* not in the headers of older systems */
    {"pidfd_open",  434, THREAD | APART},
    {"pidfd_getfd", 438, THREAD | APART},
    CALL(prlimit64, APART),
    CALL(linkat, LINKS),
    CALL(getcwd, START),
    CALL(getsid, START),
    CALL(uname, START),
#undef CALL
};

#if defined(__x86_64__)
enum { THIS_ARCH = (int)AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { THIS_ARCH = (int)AUDIT_ARCH_AARCH64 };
#endif

/* ---- the filter's machine: two registers and 16 words (linux/filter.h) ---- */

struct machine {
    uint32_t a, x, memory[BPF_MEMWORDS];
};

static uint32_t calculate(uint16_t code, uint32_t a, uint32_t b)
{
    switch (BPF_OP(code)) {
    case BPF_ADD: return a + b;
    case BPF_SUB: return a - b;
    case BPF_MUL: return a * b;
    case BPF_DIV: return b ? a / b : 0;
    case BPF_MOD: return b ? a % b : 0;
    case BPF_AND: return a & b;
    case BPF_OR: return a | b;
    case BPF_XOR: return a ^ b;
    case BPF_LSH: return b < 32 ? a << b : 0;
    case BPF_RSH: return b < 32 ? a >> b : 0;
    default: return -a; /* BPF_NEG */
    }
}

static bool holds(uint16_t code, uint32_t a, uint32_t b)
{
    switch (BPF_OP(code)) {
    case BPF_JEQ: return a == b;
    case BPF_JGT: return a > b;
    case BPF_JGE: return a >= b;
    default: return a & b; /* BPF_JSET */
    }
}

static uint32_t loaded(const struct machine *machine, const struct sock_filter *at,
                       const struct seccomp_data *data)
{
    uint32_t word = 0;

    switch (BPF_MODE(at->code)) {
    case BPF_ABS:
        if (at->k <= sizeof *data - sizeof word)
            memcpy(&word, (const char *)data + at->k, sizeof word);
        return word;
    case BPF_MEM: return machine->memory[at->k % BPF_MEMWORDS];
    case BPF_LEN: return sizeof *data;
    default: return at->k; /* BPF_IMM */
    }
}

/* What the filter returns; the kernel refuses programs that leave it, and so do we. */
static uint32_t run(const struct sock_fprog *filter, const struct seccomp_data *data)
{
    struct machine m = {0};

    for (size_t i = 0; i < filter->len; i++) {
        const struct sock_filter *at = &filter->filter[i];
        const uint32_t operand = BPF_SRC(at->code) == BPF_X ? m.x : at->k;
        switch (BPF_CLASS(at->code)) {
        case BPF_LD: m.a = loaded(&m, at, data); break;
        case BPF_LDX: m.x = loaded(&m, at, data); break;
        case BPF_ST: m.memory[at->k % BPF_MEMWORDS] = m.a; break;
        case BPF_STX: m.memory[at->k % BPF_MEMWORDS] = m.x; break;
        case BPF_ALU: m.a = calculate(at->code, m.a, operand); break;
        case BPF_JMP:
            if (BPF_OP(at->code) == BPF_JA)
                i += at->k;
            else
                i += holds(at->code, m.a, operand) ? at->jt : at->jf;
            break;
        case BPF_RET: return BPF_RVAL(at->code) == BPF_A ? m.a : at->k;
        default:
            if (BPF_MISCOP(at->code) == BPF_TAX)
                m.x = m.a;
            else
                m.a = m.x;
        }
    }
    return SECCOMP_RET_ALLOW;
}

static bool is_deadly(uint32_t answer)
{
    switch (answer & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_KILL_PROCESS:
    case SECCOMP_RET_KILL_THREAD:
    case SECCOMP_RET_TRAP: return true;
    default: return false;
    }
}

static bool is_allowed(uint32_t answer)
{
    const uint32_t action = answer & SECCOMP_RET_ACTION_FULL;

    return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

static uint32_t answer_for(const struct sock_fprog *filter, int number)
{
    return run(filter, &(struct seccomp_data){.nr = number, .arch = (uint32_t)THIS_ARCH});
}

/* Being refused does harm, too: without the first two nothing of the agent works. */
static bool is_needed(int number)
{
    return number == SYS_getpid || number == SYS_rt_sigprocmask || number == SYS_linkat;
}

/* The parts that cannot go on, and the first call of each. */
struct loss {
    uint32_t parts;
    const char *name[7]; /* by the number of the part's bit */
};

static struct loss look_at(const struct sock_fprog *filter)
{
    struct loss loss = {0};

    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        const uint32_t answer = answer_for(filter, calls[i].number);
        if (!is_deadly(answer) && (is_allowed(answer) || !is_needed(calls[i].number)))
            continue;
        for (size_t bit = 0; bit < COUNT_OF(loss.name); bit++)
            if (calls[i].parts >> bit & ~(loss.parts >> bit) & 1)
                loss.name[bit] = calls[i].name;
        loss.parts |= calls[i].parts;
    }
    return loss;
}

/* ---- the consequences ---- */

static void say(const struct loss *loss, enum part part, const char *what)
{
    log_warn("seccomp: %s: the program forbids itself this call; %s",
             loss->name[__builtin_ctz(part)], what);
}

/* Once for each part, and not what nobody would miss. */
static void say_parts(const struct loss *loss, bool all_threads)
{
    static _Atomic uint32_t said;
    const uint32_t on = agent_profiles(), before = load_relaxed(&said);
    const uint32_t parts = loss->parts & ~before;

    store_relaxed(&said, before | parts);
    if (parts & LISTS && on & (CONFIG_CONNECTION | CONFIG_FD))
        say(loss, LISTS, "only descriptors whose opening was seen are shown from here on");
    if (parts & LABELS && on & CONFIG_CONNECTION)
        say(loss, LABELS, "sockets have no labels from here on");
    if (parts & RULES && hooks_are_wanted())
        say(loss, RULES, "rules follow fewer calls of what is loaded from here on");
    if (parts & THREAD && agent_thread_is_wanted())
        say(loss, THREAD,
            all_threads ? "no snapshots by time and no HTTP from here on"
                        : "once it ends the agent's thread (snapshots by time, HTTP) does not "
                          "come back");
}

static void give_up_parts(const struct loss *loss, bool all_threads)
{
    if (loss->parts & LISTS)
        descriptors_forbid_list();
    if (loss->parts & LABELS)
        sockets_forbid();
    if (loss->parts & RULES)
        hooks_forbid_mprotect();
    if (loss->parts & APART)
        apart_forbid();
    if (loss->parts & LINKS)
        dump_forbid_links();
    if (loss->parts & THREAD)
        agent_thread_forbid();
    if (loss->parts & THREAD && all_threads) {
        agent_thread_end();
        http_end();
    }
}

static void give_up(const struct loss *loss, bool all_threads)
{
    if (loss->parts & AGENT) {
        say(loss, AGENT, "cprof is off from here on");
        agent_disarm();
    } else {
        say_parts(loss, all_threads);
        give_up_parts(loss, all_threads);
    }
}

static void enter(struct loss loss, bool all_threads)
{
    if (loss.parts & RULES && !agent_is_active() && !(loss.parts & AGENT)) {
        loss.parts |= AGENT; /* it could not be started later */
        loss.name[0] = "mprotect";
    }
    give_up(&loss, all_threads);
}

static bool is_of_our_process(void)
{
    return !process_is_borrowed() && agent_takes_profiles();
}

void sandbox_enter(const struct sock_fprog *filter, bool all_threads)
{
    const int saved_errno = errno;

    if (is_of_our_process() && sys_is_readable(filter, sizeof *filter) &&
        sys_is_readable(filter->filter, filter->len * sizeof *filter->filter))
        enter(look_at(filter), all_threads);
    errno = saved_errno;
}

void sandbox_enter_strict(void)
{
    const int saved_errno = errno;

    if (is_of_our_process())
        enter((struct loss){.parts = AGENT, .name = {"openat"}}, false);
    errno = saved_errno;
}
