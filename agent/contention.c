/* contention - see contention.h. */
#include "agent/contention.h"

#include <errno.h>
#include <sys/syscall.h>

#include "agent/lockwords.h"
#include "agent/process.h"
#include "agent/sample.h"
#include "agent/sampler.h"
#include "agent/stack.h"
#include "agent/thread.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sys.h"
#include "base/text.h"

_Atomic bool contention_is_on;
_Atomic uint32_t contention_rwlock_bits = RWLOCK_WRITER;

static _Atomic uint64_t block_rate, mutex_rate, mutex_fraction;

enum { COUNT_UNITS, DELAY_NS }; /* of a shard */

static int64_t now_ns(void)
{
    return (int64_t)clock_mono_ns();
}

static bool mutex_is_on(void)
{
    return load_relaxed(&mutex_rate) || load_relaxed(&mutex_fraction);
}

/* ---- sampling ---- */

struct weight {
    uint64_t units, ns;
};

static double uniform(struct thread *thread)
{
    if (thread->waits.random == 0)
        thread->waits.random = sampler_seed();
    return sampler_uniform(&thread->waits.random);
}

static const struct weight NOT_KEPT = {0, 0};

static struct weight weigh_by_rate(struct thread *thread, uint64_t rate, uint64_t ns)
{
    if (ns >= rate)
        return rate ? (struct weight){CONTENTION_UNIT, ns} : NOT_KEPT;
    if (uniform(thread) * (double)rate > (double)ns)
        return NOT_KEPT;
    const double times = (double)rate / (double)ns;
    return (struct weight){(uint64_t)(times * CONTENTION_UNIT + 0.5), rate};
}

static struct weight weigh_by_fraction(struct thread *thread, uint64_t n, uint64_t ns)
{
    return uniform(thread) * (double)n <= 1 ? (struct weight){n * CONTENTION_UNIT, n * ns}
                                            : NOT_KEPT;
}

static struct weight weigh_mutex(struct thread *thread, int64_t charge_ns)
{
    const uint64_t n = load_relaxed(&mutex_fraction);

    if (charge_ns <= 0)
        return NOT_KEPT;
    return n ? weigh_by_fraction(thread, n, (uint64_t)charge_ns)
             : weigh_by_rate(thread, load_relaxed(&mutex_rate), (uint64_t)charge_ns);
}

/* A wait that the clock does not see lasted 1 ns. */
static struct weight weigh_block(struct thread *thread, int64_t delay_ns)
{
    return weigh_by_rate(thread, load_relaxed(&block_rate),
                         delay_ns > 0 ? (uint64_t)delay_ns : 1);
}

/* True: this thread may walk another stack now. */
static bool may_walk(const struct wait_budget *budget, int64_t now, uint64_t rate)
{
    return rate == 1 || budget->next_ns <= now;
}

/* It has. */
static void spend(struct wait_budget *budget, int64_t now)
{
    enum { SECOND_NS = 1000000000, WALKS_PER_SECOND = 1000 };

    if (budget->next_ns < now - SECOND_NS)
        budget->next_ns = now - SECOND_NS;
    budget->next_ns += SECOND_NS / WALKS_PER_SECOND;
}

static void carry(struct wait_budget *budget, struct weight weight)
{
    store_relaxed(&budget->carried_units, load_relaxed(&budget->carried_units) + weight.units);
    store_relaxed(&budget->carried_ns, load_relaxed(&budget->carried_ns) + weight.ns);
}

static struct weight take_carried(struct wait_budget *budget, struct weight weight)
{
    weight.units += load_relaxed(&budget->carried_units);
    weight.ns += load_relaxed(&budget->carried_ns);
    store_relaxed(&budget->carried_units, 0);
    store_relaxed(&budget->carried_ns, 0);
    return weight;
}

/* ---- recording ---- */

static void count(struct record *record, struct weight weight)
{
    struct shard *shard = record_shard(record);

    add_counter(&shard->values[COUNT_UNITS], weight.units);
    add_counter(&shard->values[DELAY_NS], weight.ns);
}

/* A release and a wait that end with the same stack, either of which may be missing (0 units). */
struct event {
    struct sample sample;
    struct weight mutex, block;
    uint64_t block_tag;
};

static void use_event(struct sample *sample, struct stack *stack)
{
    const struct event *event = (const void *)sample;

    if (event->mutex.units)
        count(sample_record(SOURCE_MUTEX, stack, 0), event->mutex);
    if (event->block.units)
        count(sample_record(SOURCE_BLOCK, stack, event->block_tag), event->block);
}

/* A stack that is known costs no walk, so most events are charged where they happened, however many there are; those
 * that would need one too many are carried. */
static void record_event(struct thread *thread, struct event *event, int64_t now)
{
    struct thread_waits *waits = &thread->waits;
    const bool is_mutex = event->mutex.units, is_block = event->block.units;

    if (!is_mutex && !is_block)
        return;
    if (is_mutex)
        event->mutex = take_carried(&waits->mutex, event->mutex);
    if (is_block)
        event->block = take_carried(&waits->block, event->block);
    event->sample.use = use_event;
    event->sample.is_repeated = true;
    event->sample.source = is_block ? SOURCE_BLOCK : SOURCE_MUTEX;
    event->sample.recall_only =
        !(is_mutex && may_walk(&waits->mutex, now, load_relaxed(&mutex_rate))) &&
        !(is_block && may_walk(&waits->block, now, load_relaxed(&block_rate)));
    if (!sample_take(&event->sample)) {
        carry(&waits->mutex, event->mutex);
        carry(&waits->block, event->block);
    } else if (event->sample.is_walked) {
        spend(is_block ? &waits->block : &waits->mutex, now);
    }
}

/* ---- the stack of a lock's waiter, before it waits ---- */

struct early {
    struct sample sample;
    struct stack *stack;
};

static void use_early(struct sample *sample, struct stack *stack)
{
    ((struct early *)(void *)sample)->stack = stack;
}

static struct stack *take_early(struct thread *thread, int64_t now,
                                const struct unwind_frame *from)
{
    struct early early = {
        .sample = {
                   .source = SOURCE_BLOCK, .use = use_early, .from = from, .is_repeated = true}
    };
    struct wait_budget *budget = &thread->waits.block;
    const uint64_t rate = load_relaxed(&block_rate);

    if (rate == 0)
        return NULL;
    early.sample.recall_only = !may_walk(budget, now, rate);
    sample_take(&early.sample);
    if (early.sample.is_walked)
        spend(budget, now);
    return early.stack;
}

static void record_early(struct contention *wait, struct weight weight)
{
    struct wait_budget *budget = &wait->thread->waits.block;

    if (wait->stack)
        count(sample_record(SOURCE_BLOCK, wait->stack, wait->kind + 1u),
              take_carried(budget, weight));
    else
        carry(budget, weight);
}

/* ---- waits in progress ---- */

static void add_wakeup(struct thread *thread, int64_t ns)
{
    if (ns)
        store_relaxed(&thread->waits.wakeup_ns, load_relaxed(&thread->waits.wakeup_ns) + ns);
}

/* A handler that waits may come in between any two steps, or not come back: a wait that nobody sees any more is
 * left alone the second time. */
static void forget(struct thread *thread, struct wait *wait, int64_t now,
                   enum contention_result result)
{
    const volatile void *lock = wait->lock;
    const uint32_t seq = load_relaxed(&wait->seq);
    int64_t nobodys_ns = 0;

    wait->lock = NULL;
    compiler_barrier();
    if (lock && result == CONTENTION_GAVE_UP &&
        load_relaxed(&contention_rwlock_bits) == RWLOCK_WRITER)
        store_relaxed(&contention_rwlock_bits, ~0u);
    if (lock)
        holders_leave(lock, wait->term_ns, now, result != CONTENTION_GAVE_UP, &nobodys_ns);
    if (lock && result == CONTENTION_FAILED) /* no wait, so no wake-up */
        nobodys_ns -= now - load_relaxed(&wait->start_ns);
    if (result != CONTENTION_LEFT)
        add_wakeup(thread, nobodys_ns);
    store_release(&wait->seq, seq + seq % 2); /* pairs with read_wait */
}

/* Drops waits that were left behind, down to the first `n`. */
static void unwind_to(struct thread *thread, uint32_t n, int64_t now)
{
    for (uint32_t i = thread->waits.n; i > n; i--) {
        forget(thread, &thread->waits.waits[i - 1], now, CONTENTION_LEFT);
        compiler_barrier();
        thread->waits.n = i - 1; /* last, so that no handler takes the place before */
    }
}

/* A handler's frames lie at least so far below what it interrupted: its signal frame is larger. */
enum { SIGNAL_FRAME_BYTES = 1024 };

/* A siglongjmp may have left waits behind: their frames are not above this one any more, or no handler's frame
 * is in between.  On an alternate signal stack addresses say nothing. */
static void drop_stale(struct thread *thread, uintptr_t sp, int64_t now)
{
    stack_t alternate;

    while (thread->waits.n) {
        const struct wait *top = &thread->waits.waits[thread->waits.n - 1];
        if (sp + SIGNAL_FRAME_BYTES <= load_relaxed(&top->sp) ||
            sys_sigaltstack(NULL, &alternate) < 0 || alternate.ss_flags & SS_ONSTACK)
            return;
        unwind_to(thread, thread->waits.n - 1, now);
    }
}

static void follow(struct contention *wait, struct wait *shown, const volatile void *lock)
{
    int64_t nobodys_ns = 0;

    shown->lock = NULL;
    if (!lock || !mutex_is_on())
        return;
    shown->term_ns = holders_enter(lock, wait->start_ns, &nobodys_ns);
    if (shown->term_ns < 0)
        thread_count_drop(SOURCE_MUTEX, DROP_BUCKET);
    else
        shown->lock = lock;
    add_wakeup(wait->thread, nobodys_ns);
}

static void show(const struct contention *wait, struct wait *shown,
                 const struct unwind_frame *from)
{
    atomic_thread_fence(memory_order_release); /* after the end of the last one */
    store_relaxed(&shown->kind, wait->kind);
    store_relaxed(&shown->start_ns, wait->start_ns);
    store_relaxed(&shown->pc, from->pc);
    store_relaxed(&shown->sp, from->sp);
    store_relaxed(&shown->bp, from->bp);
    store_relaxed(&shown->bx, from->bx);
    store_release(&shown->seq, (load_relaxed(&shown->seq) + 1) | 1); /* pairs with read_wait */
}

static struct unwind_frame frame_of(const struct wait *shown)
{
    return (struct unwind_frame){
        .pc = load_relaxed(&shown->pc),
        .sp = load_relaxed(&shown->sp),
        .bp = load_relaxed(&shown->bp),
        .bx = load_relaxed(&shown->bx),
        .is_exact = true,
    };
}

/* Takes the next place.  A handler that waits before it counts takes the same one and puts `sp` back; from then on
 * handlers take the one after, seeing by `sp` that this one is in use. */
static struct wait *take_place(struct contention *wait, uintptr_t sp)
{
    struct wait *place = &wait->thread->waits.waits[wait->place];

    wait->sp_before = load_relaxed(&place->sp);
    compiler_barrier();
    store_relaxed(&place->sp, sp);
    place->call = wait;
    compiler_barrier();
    wait->thread->waits.n = wait->place + 1;
    compiler_barrier();
    return place;
}

static void leave_place(const struct contention *wait)
{
    compiler_barrier();
    store_relaxed(&wait->thread->waits.waits[wait->place].sp, wait->sp_before);
    compiler_barrier();
    wait->thread->waits.n = wait->place;
}

/* ---- what the wrappers report ---- */

void contention_begin_at(struct contention *wait, enum wait_kind kind,
                         const volatile void *lock, const struct unwind_frame *from)
{
    const int saved_errno = errno;
    struct thread *thread = thread_own_record();

    if (!thread)
        return;
    const int64_t now = now_ns();
    *wait = (struct contention){
        .start_ns = now, .thread = thread, .place = WAITS_NESTED, .kind = kind};
    drop_stale(thread, from->sp, now);
    if (thread->waits.n < WAITS_NESTED) {
        wait->place = thread->waits.n;
        struct wait *shown = take_place(wait, from->sp);
        show(wait, shown, from);
        if (lock)
            wait->stack = take_early(thread, now, from);
        follow(wait, shown, lock);
    }
    errno = saved_errno;
}

static void end_shown(struct contention *wait, enum contention_result result, int64_t now)
{
    struct thread *thread = wait->thread;

    if (wait->place >= WAITS_NESTED)
        return;
    unwind_to(thread, wait->place + 1, now);
    forget(thread, &thread->waits.waits[wait->place], now, result);
    leave_place(wait);
}

void contention_end_of(struct contention *wait, enum contention_result result,
                       const struct unwind_frame *from)
{
    const int saved_errno = errno;
    const bool is_lock = wait->kind == WAIT_MUTEX || wait->kind == WAIT_RWLOCK;
    const int64_t now = now_ns();
    struct event event = {.sample.from = from, .block_tag = wait->kind + 1u};

    if (unlikely(thread_own_record() != wait->thread)) { /* begun before a handler forked */
        errno = saved_errno;
        return;
    }
    end_shown(wait, result, now);
    event.mutex = weigh_mutex(wait->thread, wait->charge_ns);
    if (result != CONTENTION_FAILED)
        event.block = weigh_block(wait->thread, now - wait->start_ns);
    if (!is_lock)
        record_event(wait->thread, &event, now);
    else if (event.block.units)
        record_early(wait, event.block);
    errno = saved_errno;
}

/* What a siglongjmp left behind may point anywhere, to anything. */
static bool is_there(const struct contention *call)
{
    return call && stack_is_readable((uintptr_t)call) &&
           stack_is_readable((uintptr_t)(call + 1) - 1);
}

/* The calling thread's innermost wait, or NULL. */
static struct contention *innermost_call(void)
{
    const struct thread *thread = thread_self.record;
    const uint32_t n = thread ? thread->waits.n : 0;
    const struct wait *top = n ? &thread->waits.waits[n - 1] : NULL;
    struct contention *call = top ? top->call : NULL;

    return is_there(call) && call->thread == thread && call->place == n - 1 &&
                   call->start_ns == load_relaxed(&top->start_ns)
               ? call
               : NULL;
}

_Unwind_Reason_Code contention_unwound(int version, _Unwind_Action actions,
                                       _Unwind_Exception_Class exception_class,
                                       struct _Unwind_Exception *exception,
                                       struct _Unwind_Context *context)
{
    struct contention *call = actions & _UA_CLEANUP_PHASE ? innermost_call() : NULL;

    (void)version;
    (void)exception_class;
    (void)exception;
    (void)context;
    if (call) {
        const struct unwind_frame from = frame_of(&call->thread->waits.waits[call->place]);
        contention_end_of(call, CONTENTION_GAVE_UP, &from);
    }
    return _URC_CONTINUE_UNWIND;
}

int64_t contention_charge(const volatile void *lock)
{
    return mutex_is_on() ? holders_release(lock, now_ns()) : 0;
}

void contention_on_release_from(int64_t charge_ns, const struct unwind_frame *from)
{
    const int saved_errno = errno;
    struct thread *thread = thread_own_record();
    struct event event = {.sample.from = from};

    if (thread) {
        event.mutex = weigh_mutex(thread, charge_ns);
        if (event.mutex.units)
            record_event(thread, &event, now_ns());
    }
    errno = saved_errno;
}

int contention_tid(void)
{
    const struct thread *thread = thread_own_record();

    return thread ? load_relaxed(&thread->tid) : sys_gettid();
}

void contention_abandon(struct thread *thread, bool is_same_process)
{
    for (size_t i = 0; i < WAITS_NESTED && !is_same_process; i++)
        thread->waits.waits[i].lock = NULL; /* after fork the buckets start anew */
    unwind_to(thread, 0, now_ns());
}

/* ---- control ---- */

static bool is_possible; /* contention_init() was called */
static _Atomic bool block_was_on, mutex_was_on;

static void update(void)
{
    if (load_relaxed(&block_rate))
        store_relaxed(&block_was_on, true);
    if (mutex_is_on())
        store_relaxed(&mutex_was_on, true);
    store_relaxed(&contention_is_on, load_relaxed(&block_rate) || mutex_is_on());
}

void contention_init(uint64_t block_rate_ns, uint64_t mutex_rate_ns, uint64_t fraction)
{
    store_relaxed(&block_rate, block_rate_ns);
    store_relaxed(&mutex_rate, mutex_rate_ns);
    store_relaxed(&mutex_fraction, fraction);
    is_possible = true;
    update();
}

static uint64_t set(_Atomic uint64_t *setting, uint64_t value)
{
    if (!is_possible)
        return 0;
    const uint64_t previous = swap_acq_rel(setting, value);
    update();
    return previous;
}

uint64_t contention_set_block_rate(uint64_t rate_ns)
{
    return set(&block_rate, rate_ns);
}

uint64_t contention_set_mutex_rate(uint64_t rate_ns)
{
    return set(&mutex_rate, rate_ns);
}

uint64_t contention_set_mutex_fraction(uint64_t n)
{
    return set(&mutex_fraction, n);
}

bool contention_was_on(int source)
{
    return (source == SOURCE_BLOCK && load_relaxed(&block_was_on)) ||
           (source == SOURCE_MUTEX && load_relaxed(&mutex_was_on));
}

uint64_t contention_block_rate(void)
{
    return load_relaxed(&block_rate);
}

uint64_t contention_mutex_rate(void)
{
    return load_relaxed(&mutex_rate);
}

/* ---- the profiles ---- */

static void sum_shard(struct shard *shard, void *arg)
{
    struct weight *sum = arg;

    sum->units += load_relaxed(&shard->values[COUNT_UNITS]);
    sum->ns += load_relaxed(&shard->values[DELAY_NS]);
}

void mutex_read(struct record *record, int64_t *ret_values)
{
    struct weight sum = {0};

    record_each_shard(record, sum_shard, &sum);
    ret_values[0] = (int64_t)((sum.units + CONTENTION_UNIT / 2) / CONTENTION_UNIT);
    ret_values[1] = (int64_t)sum.ns;
}

const char *block_tag_text(uint64_t tag)
{
#define WAIT_TEXT(kind, text) text,
    static const char *const texts[] = {WAIT_KINDS(WAIT_TEXT)};
#undef WAIT_TEXT

    return tag >= 1 && tag <= N_WAIT_KINDS ? texts[tag - 1] : NULL;
}

/* What was kept and still looks for a stack. */
static struct weight sum_carried(size_t budget_offset)
{
    struct weight sum = {0};

    for (struct thread *t = thread_first(); t; t = t->next) {
        const struct wait_budget *budget =
            (const void *)((const char *)&t->waits + budget_offset);
        sum.units += load_relaxed(&budget->carried_units);
        sum.ns += load_relaxed(&budget->carried_ns);
    }
    return sum;
}

static void comment(void (*add)(void *arg, const char *line), void *arg, const char *name,
                    uint64_t rate, size_t budget_offset)
{
    const struct weight carried = sum_carried(budget_offset);
    char buffer[160];
    struct text line;

    text_init(&line, buffer, sizeof buffer);
    text_addf(&line, "%s rate: %lu ns", name, rate);
    add(arg, buffer);
    if (!carried.ns)
        return;
    text_init(&line, buffer, sizeof buffer);
    text_addf(&line, "over 1000 stacks a second in a thread, not shown yet: %lu events, %lu ns",
              (carried.units + CONTENTION_UNIT / 2) / CONTENTION_UNIT, carried.ns);
    add(arg, buffer);
}

void mutex_comment(void (*add)(void *arg, const char *line), void *arg)
{
    char buffer[64];
    struct text line;

    comment(add, arg, "mutex", load_relaxed(&mutex_rate), offsetof(struct thread_waits, mutex));
    if (!load_relaxed(&mutex_fraction))
        return;
    text_init(&line, buffer, sizeof buffer);
    text_addf(&line, "mutex fraction: 1 of %lu", load_relaxed(&mutex_fraction));
    add(arg, buffer);
}

void block_comment(void (*add)(void *arg, const char *line), void *arg)
{
    comment(add, arg, "block", load_relaxed(&block_rate), offsetof(struct thread_waits, block));
}

/* ---- what a snapshot sees of the moment ---- */

size_t mutex_current_max(void)
{
    return WAITS_NESTED * thread_count() + 1; /* [wakeup] */
}

void mutex_current(const struct profile_current *current)
{
    int64_t values[2] = {0, 0};

    for (struct thread *t = thread_first(); t; t = t->next)
        values[1] += load_relaxed(&t->waits.wakeup_ns);
    if (values[1] > 0)
        current->add(current,
                     &(struct profile_sample){.stack = &stack_wakeup, .values = values});
}

/* False: it is over, or was never one. */
static bool read_wait(const struct wait *wait, struct unwind_frame *ret_from,
                      uint32_t *ret_kind, int64_t *ret_start_ns, uint32_t *ret_seq)
{
    *ret_seq = load_acquire(&wait->seq); /* pairs with show, forget */
    *ret_kind = load_relaxed(&wait->kind);
    *ret_start_ns = load_relaxed(&wait->start_ns);
    *ret_from = frame_of(wait);
    atomic_thread_fence(memory_order_acquire);
    return *ret_seq % 2 == 1 && load_relaxed(&wait->seq) == *ret_seq;
}

/* Of "202 0x1 0x2 0x3 0x4 0x5 0x6 0xsp 0xpc": the system call, and the last but one. */
static bool parse_syscall(const char *line, uint64_t *ret_number, uint64_t *ret_sp)
{
    enum { SP = 7 };
    bool is_right = text_parse_u64(&line, ret_number) == 0;

    for (int i = 0; is_right && i < SP; i++) {
        is_right = line[0] == ' ' && line[1] == '0' && line[2] == 'x';
        line += is_right ? 3 : 0;
        is_right = is_right && text_parse_hex(&line, ret_sp) == 0;
    }
    return is_right;
}

enum { SYS_FUTEX_WAITV = 449 };

/* The thread has left the wait by siglongjmp and has not waited since: it runs, or is in a system call that
 * is neither the wait's nor a handler's.  Where the kernel does not tell, false. */
static bool is_left_behind(int tid, uintptr_t sp)
{
    uint64_t number, at;
    char path[64], buffer[256];
    struct text text;

    text_init(&text, path, sizeof path);
    text_addf(&text, "/proc/self/task/%d/syscall", tid);
    if (tid == sys_gettid() || file_read_proc(path, buffer, sizeof buffer) < 0)
        return false;
    if (!parse_syscall(buffer, &number, &at))
        return text_starts_with(buffer, "running");
    return at + (number == SYS_futex || number == SYS_FUTEX_WAITV ? 0 : SIGNAL_FRAME_BYTES) >
           sp;
}

/* `*has_inner`: a wait that was begun later is, so nothing has left this one (drop_stale). */
static void add_wait(const struct profile_current *current, const struct thread *thread,
                     const struct wait *wait, bool *has_inner)
{
    struct unwind_frame from;
    uint32_t kind, seq;
    int64_t start_ns;

    if (!read_wait(wait, &from, &kind, &start_ns, &seq) ||
        (!*has_inner && is_left_behind(load_relaxed(&thread->tid), from.sp)))
        return;
    *has_inner = true;
    struct stack *stack = sample_stack_of(&from, &wait->seq, seq);
    if (!stack)
        return;
    int64_t values[2] = {1, now_ns() - start_ns};
    struct pprof_label labels[LABELS_PER_THREAD];
    const struct profile_sample sample = {
        .stack = stack,
        .tag = kind + 1,
        .values = values,
        .state = "waiting",
        .tid = load_relaxed(&thread->tid),
        .labels = labels,
        .n_labels = labels_of(thread, labels),
    };
    current->add(current, &sample);
}

void block_current(const struct profile_current *current)
{
    const int pid = process_pid();

    if (!load_relaxed(&block_rate))
        return;
    for (struct thread *t = thread_first(); t; t = t->next) {
        if (load_relaxed(&t->pid) != pid || sys_tgkill(pid, load_relaxed(&t->tid), 0) == -ESRCH)
            continue;
        bool has_inner = false;
        for (size_t i = WAITS_NESTED; i-- > 0;)
            add_wait(current, t, &t->waits.waits[i], &has_inner);
    }
}
