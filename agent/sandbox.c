/* sandbox - see sandbox.h. */
#include "agent/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/apart.h"
#include "agent/dump.h"
#include "agent/process.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/sys.h"

/* What base/sys.h calls. */
#define CALLS(call) \
    call(mmap) call(munmap) call(madvise) call(openat) call(close) call(read) call(pread64) \
        call(lseek) call(write) call(fcntl) call(newfstatat) call(mkdirat) call(faccessat) \
            call(renameat2) call(unlinkat) call(readlinkat) call(getpid) call(getppid) \
                call(gettid) call(tgkill) call(getrandom) call(rt_sigprocmask) \
                    call(rt_sigpending) call(rt_sigtimedwait) call(rt_sigaction) \
                        call(nanosleep) call(process_vm_readv) call(sigaltstack) call(futex)

static const struct {
    const char *name;
    int number;
} calls[] = {
#define CALL(name) {#name, SYS_##name},
    CALLS(CALL)
#undef CALL
};

/* What only apart.c needs; the last ones are close_range, pidfd_open and pidfd_getfd. */
static const int apart_calls[] = {SYS_prlimit64, SYS_clone, SYS_exit, 436, 434, 438};

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

/* Without these two nothing of the agent works. */
static bool is_needed(int number)
{
    return number == SYS_getpid || number == SYS_rt_sigprocmask;
}

/* The name of the first call of ours that it kills for, or refuses though it is needed; or NULL. */
static const char *find_forbidden(const struct sock_fprog *filter)
{
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        const uint32_t answer = answer_for(filter, calls[i].number);
        if (is_deadly(answer) || (is_needed(calls[i].number) && !is_allowed(answer)))
            return calls[i].name;
    }
    return NULL;
}

static const char *look_at(const struct sock_fprog *filter)
{
    for (size_t i = 0; i < COUNT_OF(apart_calls); i++)
        if (is_deadly(answer_for(filter, apart_calls[i])))
            apart_forbid();
    if (!is_allowed(answer_for(filter, SYS_linkat)))
        dump_forbid_links();
    return find_forbidden(filter);
}

void sandbox_enter(const struct sock_fprog *filter)
{
    const int saved_errno = errno;
    const char *forbidden = NULL;

    if (process_is_borrowed() || !agent_is_active())
        return;
    if (!filter)
        forbidden = "openat";
    else if (sys_is_readable(filter, sizeof *filter) &&
             sys_is_readable(filter->filter, filter->len * sizeof *filter->filter))
        forbidden = look_at(filter);
    if (forbidden) {
        log_warn("seccomp: %s: the program forbids itself this call; cprof is off from here on",
                 forbidden);
        agent_disarm();
    }
    errno = saved_errno;
}
