/* heap - see heap.h. */
#include "agent/heap.h"

#include <errno.h>
#include <string.h>

#include "agent/ages.h"
#include "agent/livetab.h"
#include "agent/process.h"
#include "agent/sample.h"
#include "agent/sampler.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/real.h"
#include "base/sys.h"
#include "base/text.h"

static struct livetab live;
static const char *note; /* what the profile cannot see; NULL: nothing */

/* ---- rates: a live object remembers by number which rate was in force ---- */

enum { RATES_MAX = 63 };

static _Atomic uint64_t rates[RATES_MAX];
static _Atomic uint32_t n_rates EARLY;
static _Atomic uint32_t rate_now; /* index into rates */
static _Atomic uint64_t n_refused_rates;

uint64_t heap_rate(void)
{
    return load_relaxed(&rates[load_acquire(&rate_now)]); /* pairs with switch_rate */
}

/* ---- the word behind a live object ---- */

/* record id : 22 | rate index : 6 | counted in the filter : 1 | size : 35; never 0, because a record id
 * of a real stack is not 0 and that of the overflow comes with SIZE_MARK's rate index + 1. */
enum {
    SIZE_BITS = 35,
    COUNTED_BIT = SIZE_BITS,
    RATE_SHIFT = SIZE_BITS + 1,
    RATE_BITS = 6,
    RECORD_SHIFT = RATE_SHIFT + RATE_BITS
};

static const uint64_t SIZE_IS_PAGES = (uint64_t)1 << (SIZE_BITS - 1); /* from 16 GiB on */
static const uint64_t COUNTED = (uint64_t)1 << COUNTED_BIT;

static uint64_t pack_size(uint64_t size)
{
    return size < SIZE_IS_PAGES ? size : (size >> HEAP_PAGE_BITS) | SIZE_IS_PAGES;
}

static uint64_t unpack_size(uint64_t value)
{
    const uint64_t size = value & (SIZE_IS_PAGES - 1);

    return value & SIZE_IS_PAGES ? size << HEAP_PAGE_BITS : size;
}

static uint64_t pack(const struct record *record, uint32_t rate, uint64_t size)
{
    return (uint64_t)record->id << RECORD_SHIFT | (uint64_t)(rate + 1) << RATE_SHIFT |
           pack_size(size);
}

static struct record *value_record(uint64_t value)
{
    return record_get((uint32_t)(value >> RECORD_SHIFT));
}

static struct sampler_weight value_weight(uint64_t value)
{
    const uint32_t rate = (uint32_t)(value >> RATE_SHIFT & ((1 << RATE_BITS) - 1)) - 1;

    return sampler_weigh(unpack_size(value), load_relaxed(&rates[rate]));
}

/* ---- the page filter ---- */

enum { STICKY = 255, FILTER_PAGES = 1 << HEAP_FILTER_BITS };

/* Behind it the same by places of 16 bytes, modulo 1 MiB: a sampled object may lie for years on a page whose
 * others come and go, and the live table is eight cache lines. */
enum { PLACE_BITS = 4, N_PLACES = 1 << 16 };

static _Atomic uint8_t filter[FILTER_PAGES] LARGE;
static _Atomic uint8_t places[N_PLACES] LARGE;
static uint8_t all_ones[FILTER_PAGES] LARGE; /* filled, and so taking memory, at rate 1 only */
static _Atomic bool filter_is_kept = true;   /* false at rate 1 */

const uint8_t *heap_filter = (const uint8_t *)(uintptr_t)filter;

static _Atomic uint8_t *page_of(uintptr_t address)
{
    return &filter[(uint32_t)address >> HEAP_PAGE_BITS];
}

static _Atomic uint8_t *place_of(uintptr_t address)
{
    return &places[address >> PLACE_BITS & (N_PLACES - 1)];
}

static void count_up(_Atomic uint8_t *count)
{
    uint8_t seen = load_relaxed(count);

    while (seen != STICKY && !cas_relaxed(count, &seen, (uint8_t)(seen + 1)))
        ;
}

static void count_down(_Atomic uint8_t *count)
{
    uint8_t seen = load_relaxed(count);

    while (seen != STICKY && seen != 0 && !cas_relaxed(count, &seen, (uint8_t)(seen - 1)))
        ;
}

static void filter_add(uintptr_t address)
{
    count_up(page_of(address));
    count_up(place_of(address));
}

static void filter_remove(uintptr_t address)
{
    count_down(page_of(address));
    count_down(place_of(address));
}

/* False: something is tracked on the page of `address`, but not this. */
static bool may_be_tracked(uintptr_t address)
{
    const uint8_t *pages =
        __atomic_load_n(&heap_filter, __ATOMIC_ACQUIRE); /* pairs with open_filter */

    return pages == all_ones || load_relaxed(place_of(address)) != 0;
}

/* ---- counters of a shard ---- */

enum {
    ALLOC_OBJECTS, /* in sampler units, like all objects here */
    ALLOC_BYTES,
    FREE_OBJECTS,
    FREE_BYTES,
    PEAK_OBJECTS, /* in use when PEAK_EPOCH began */
    PEAK_BYTES,
    PEAK_EPOCH,
};

static _Atomic uint64_t peak_epoch ALIGNED(64);
static _Atomic int64_t peak_bytes; /* the highest inuse_bytes that began an epoch */
/* Of all; behind by what the threads still hold back.  Written more often than the two are. */
static _Atomic int64_t inuse_bytes ALIGNED(64);

/* The first touch in a new epoch saves what was in use when it began.  Two threads on one shard may
 * disagree by the sample that is just under way. */
static void save_peak(struct shard *shard)
{
    const uint64_t now = load_relaxed(&peak_epoch);
    uint64_t seen = load_relaxed(&shard->values[PEAK_EPOCH]);

    if (likely(seen == now) || !cas_relaxed(&shard->values[PEAK_EPOCH], &seen, now))
        return;
    store_relaxed(&shard->values[PEAK_OBJECTS], load_relaxed(&shard->values[ALLOC_OBJECTS]) -
                                                    load_relaxed(&shard->values[FREE_OBJECTS]));
    store_relaxed(&shard->values[PEAK_BYTES], load_relaxed(&shard->values[ALLOC_BYTES]) -
                                                  load_relaxed(&shard->values[FREE_BYTES]));
}

static void begin_epoch(int64_t last, int64_t inuse)
{
    if (cas_relaxed(&peak_bytes, &last, inuse))
        add_relaxed(&peak_epoch, 1);
}

/* A new epoch for each 1/64 of growth over the last peak. */
static void raise_peak(int64_t inuse)
{
    enum { GROWTH = 64 };
    const int64_t last = load_relaxed(&peak_bytes);

    if (inuse > last + last / GROWTH)
        begin_epoch(last, inuse);
}

/* Puts what the thread held back together with the others', and sets what it may hold back next. */
static void hand_over(struct thread *thread, int64_t sum)
{
    enum { HOLD_BACK = 256 };

    raise_peak(add_relaxed(&inuse_bytes, sum) + sum);
    if (thread)
        store_relaxed(&thread->held_limit,
                      load_relaxed(&peak_bytes) / HOLD_BACK / thread_count());
}

/* Threads add up apart and put it together now and then, so that rate 1 has no line that all of
 * them write.  All of them together hold back about a 256th of the peak: each sets its own part when
 * it hands over, a new one does so at once.  A signal handler in between, or a child that inherited
 * the record, may make the total wrong by one thread's part. */
static void move_inuse(int64_t bytes)
{
    struct thread *thread = thread_record();
    const int64_t sum = bytes + (thread ? load_relaxed(&thread->held_bytes) : 0);
    const int64_t limit = thread ? load_relaxed(&thread->held_limit) : 0;
    const bool moves = sum >= limit || sum <= -limit;

    if (thread)
        store_relaxed(&thread->held_bytes, moves ? 0 : sum);
    if (unlikely(moves))
        hand_over(thread, sum);
}

void heap_settle_peak(void)
{
    /* In this order: what moves meanwhile is missed, not seen twice. */
    int64_t inuse = load_acquire(&inuse_bytes);
    const int64_t last = load_relaxed(&peak_bytes);

    for (struct thread *t = thread_first(); t; t = t->next)
        inuse += load_relaxed(&t->held_bytes);
    if (inuse > last)
        begin_epoch(last, inuse);
}

static void count_alloc(struct record *record, struct sampler_weight weight)
{
    struct shard *shard = record_shard(record);

    save_peak(shard);
    add_counter(&shard->values[ALLOC_OBJECTS], weight.objects);
    add_counter(&shard->values[ALLOC_BYTES], weight.bytes);
    move_inuse((int64_t)weight.bytes);
}

static void count_free(struct record *record, struct sampler_weight weight)
{
    struct shard *shard = record_shard(record);

    save_peak(shard);
    /* Release, pairs with load_acquire in sum_freed: who sees this free sees its allocation. */
    add_counter(&shard->values[FREE_BYTES], weight.bytes);
    add_counter(&shard->values[FREE_OBJECTS], weight.objects);
    move_inuse(-(int64_t)weight.bytes);
}

/* ---- live objects ---- */

/* An object that is counted but not tracked is at once counted as freed, so that it is left out
 * of in use; the drop says so. */
static void lose(uint64_t value, enum thread_drop why)
{
    count_free(value_record(value), value_weight(value));
    thread_count_drop(SOURCE_HEAP, why);
}

static void track(uintptr_t address, uint64_t value, uint64_t born_s)
{
    uint64_t old = 0;
    const bool keep_filter = load_relaxed(&filter_is_kept);

    if (keep_filter) {
        filter_add(address);
        value |= COUNTED;
    }
    /* Samples are rare, so they can afford to look everywhere for an entry whose free was not seen. */
    const bool is_known = keep_filter && livetab_replace(&live, address, value, born_s, &old);
    const enum livetab_put put =
        is_known ? LIVETAB_REPLACED : livetab_put(&live, address, value, born_s, &old);
    switch (put) {
    case LIVETAB_NEW: break;
    case LIVETAB_REPLACED:
        count_free(value_record(old), value_weight(old));
        if (old & COUNTED)
            filter_remove(address);
        break;
    case LIVETAB_FULL:
    case LIVETAB_ODD:
        if (keep_filter)
            filter_remove(address);
        lose(value, put == LIVETAB_ODD ? DROP_ADDRESS : DROP_LIVE_FULL);
        return;
    }
    /* The filter came into use meanwhile, perhaps after the rebuild passed this slot.  Both sides
     * write, then look at the other's word (seq_cst), so one of them counts the page; when both do, one
     * count stays for good. */
    if (!keep_filter && atomic_load_explicit(&filter_is_kept, memory_order_seq_cst))
        filter_add(address);
}

static struct heap_taken take(uintptr_t address)
{
    struct heap_taken taken = {0};

    taken.birth = livetab_take(&live, address, &taken.value);
    if (taken.birth && taken.value & COUNTED)
        filter_remove(address);
    return taken;
}

struct heap_taken heap_take(const void *p)
{
    const struct heap_taken none = {0};

    return may_be_tracked((uintptr_t)p) ? take((uintptr_t)p) : none;
}

void heap_put_back(const void *p, struct heap_taken taken)
{
    if (taken.value)
        track((uintptr_t)p, taken.value & ~COUNTED,
              livetab_born_s(taken.birth, clock_mono_s()));
}

void heap_on_free_taken(struct heap_taken taken)
{
    if (taken.value)
        count_free(value_record(taken.value), value_weight(taken.value));
}

static NOINLINE void take_and_count(uintptr_t address)
{
    heap_on_free_taken(take(address));
}

void heap_on_free(const void *p)
{
    if (may_be_tracked((uintptr_t)p))
        take_and_count((uintptr_t)p);
}

/* ---- sampling ---- */

struct heap_sample {
    struct sample sample;
    uintptr_t address;
    size_t size;
    uint32_t rate; /* index */
};

static void record_sample(struct sample *base, struct stack *stack)
{
    const struct heap_sample *sample = (const void *)base;
    struct record *record = sample_record(SOURCE_HEAP, stack, heap_size_class(sample->size));
    const uint64_t value = pack(record, sample->rate, sample->size);
    const uint64_t now_s = clock_mono_s();

    count_alloc(record, value_weight(value));
    track(sample->address, value, now_s);
    livetab_sweep(&live, now_s);
}

/* The countdown of a thread that has none yet.  True: this first allocation is a sample too. */
static bool start_countdown(size_t size, uint64_t rate)
{
    thread_self.random = sampler_seed();
    const size_t gap = sampler_next(&thread_self.random, rate);

    const size_t counted = size + !size;

    thread_self.heap_left_bytes = gap - counted;
    return gap <= counted;
}

struct heap_due heap_on_due(size_t size)
{
    const struct heap_due not_a_sample = {0};

    if (load_relaxed(&n_rates) == 0) { /* before heap_init() */
        thread_self.heap_left_bytes = 0;
        return not_a_sample;
    }
    const uint32_t index = load_acquire(&rate_now); /* pairs with switch_rate */
    const uint64_t rate = load_relaxed(&rates[index]);
    if (thread_self.random == 0 && !start_countdown(size, rate))
        return not_a_sample;
    thread_self.heap_left_bytes = sampler_next(&thread_self.random, rate);
    return rate ? (struct heap_due){index + 1} : not_a_sample;
}

void heap_on_alloc_from(const void *p, size_t size, struct heap_due due,
                        const struct unwind_frame *from)
{
    const int saved_errno = errno;

    if (!p || !due.rate)
        return;
    /* When every allocation is a sample, loops take the same one again and again. */
    const bool is_exact = load_relaxed(&rates[due.rate - 1]) == 1;
    struct heap_sample sample = {
        .sample = {.source = SOURCE_HEAP,
                   .use = record_sample,
                   .from = from,
                   .is_repeated = is_exact},
        .address = (uintptr_t)p,
        .size = size,
        .rate = due.rate - 1,
    };

    sample_take(&sample.sample);
    errno = saved_errno;
}

/* ---- control ---- */

uint64_t heap_size_class(uint64_t size)
{
    if (size <= 128)
        return size <= 16 ? 16 : (size + 15) & ~(uint64_t)15;
    const unsigned bits = 63 - (unsigned)__builtin_clzll(size - 1);
    const uint64_t step = (uint64_t)1 << (bits - 2);
    return (size + step - 1) & ~(step - 1);
}

/* Marks one object as counted in the filter, and counts it, unless it goes meanwhile. */
static void count_in_filter(const struct live *object, void *arg)
{
    uint64_t value = object->value;

    (void)arg;
    if (value & COUNTED)
        return;
    filter_add(object->address);
    if (!cas_acq_rel(object->value_at, &value, value | COUNTED) || !livetab_is_current(object))
        filter_remove(object->address);
}

/* Rate 1 needs no filter: first every free goes to the table, then objects come uncounted. */
static void close_filter(void)
{
    if (!all_ones[0]) /* later on other threads read it */
        memset(all_ones, 1, sizeof all_ones);
    __atomic_store_n(&heap_filter, all_ones, __ATOMIC_RELEASE);
    atomic_store_explicit(&filter_is_kept, false, memory_order_seq_cst);
}

/* From rate 1 to another: new objects are counted from now on, then those that are there, and
 * only then do frees trust the filter again. */
static void open_filter(void)
{
    atomic_store_explicit(&filter_is_kept, true, memory_order_seq_cst);
    livetab_each(&live, clock_mono_s(), count_in_filter, NULL);
    __atomic_store_n(&heap_filter, (const uint8_t *)(uintptr_t)filter, __ATOMIC_RELEASE);
}

/* The index of the rate, added when it is new; RATES_MAX: no place. */
static uint32_t find_rate(uint64_t rate_bytes)
{
    const uint32_t n = load_relaxed(&n_rates);

    for (uint32_t i = 0; i < n; i++)
        if (load_relaxed(&rates[i]) == rate_bytes)
            return i;
    if (n == RATES_MAX)
        return n;
    store_relaxed(&rates[n], rate_bytes);
    store_release(&n_rates, n + 1);
    return n;
}

static void switch_rate(uint32_t index)
{
    store_release(&rate_now, index); /* pairs with load_acquire in heap_on_alloc */
}

static void refuse_rate(uint64_t rate_bytes)
{
    add_relaxed(&n_refused_rates, 1);
    log_warn_once("heap: rate %lu: there were %d rates already; the rate stays as it is",
                  rate_bytes, RATES_MAX);
}

static struct lock rate_lock;

static uint64_t set_rate(uint64_t rate_bytes) NEEDS(rate_lock)
{
    const uint64_t previous = heap_rate();
    const uint32_t index = find_rate(rate_bytes);

    if (index == RATES_MAX)
        refuse_rate(rate_bytes);
    if (index == RATES_MAX || rate_bytes == previous)
        return previous;
    if (rate_bytes == 1)
        close_filter();
    switch_rate(index);
    if (previous == 1)
        open_filter();
    return previous;
}

/* Tried, with all signals blocked, so that a handler finds it free or another thread's. */
uint64_t heap_set_rate(uint64_t rate_bytes)
{
    const sys_sigset all = ~(sys_sigset)0;
    uint64_t previous = heap_rate();
    sys_sigset old;

    if (process_is_borrowed())
        return previous;
    sys_sigmask(SIG_SETMASK, &all, &old);
    if (lock_try(&rate_lock, process_pid())) {
        previous = set_rate(rate_bytes);
        lock_drop(&rate_lock);
    }
    sys_sigmask(SIG_SETMASK, &old, NULL);
    return previous;
}

void heap_init(uint64_t rate_bytes, bool early_was_used)
{
    /* Frees of the early pool must come to us, not to the real free. */
    const size_t bytes = early_was_used ? EARLY_POOL_BYTES : 0;

    for (size_t at = 0; at < bytes; at += (size_t)1 << HEAP_PAGE_BITS)
        store_relaxed(page_of((uintptr_t)early_pool + at), STICKY);
    if (rate_bytes == 1)
        close_filter();
    switch_rate(find_rate(rate_bytes));
}

void heap_set_note(const char *text)
{
    note = text;
}

/* ---- the profiles ---- */

uint64_t heap_n_places(void)
{
    return livetab_n_places(&live);
}

uint64_t heap_period(void)
{
    const uint64_t rate = heap_rate();

    return rate ? rate : 1;
}

struct sums {
    uint64_t alloc_objects, alloc_bytes, free_objects, free_bytes;
    int64_t peak_objects, peak_bytes;
};

/* Freed first, then allocated: what is freed in between is seen as still in use, never as negative. */
static void sum_freed(struct shard *shard, void *arg)
{
    struct sums *sums = arg;

    sums->free_objects +=
        load_acquire(&shard->values[FREE_OBJECTS]); /* pairs with count_free */
    sums->free_bytes += load_acquire(&shard->values[FREE_BYTES]);
}

static void sum_allocated(struct shard *shard, void *arg)
{
    struct sums *sums = arg;

    sums->alloc_objects += load_relaxed(&shard->values[ALLOC_OBJECTS]);
    sums->alloc_bytes += load_relaxed(&shard->values[ALLOC_BYTES]);
}

/* A shard not touched since the peak began still has its values of then. */
static void sum_peak(struct shard *shard, void *arg)
{
    struct sums *sums = arg;

    if (load_relaxed(&shard->values[PEAK_EPOCH]) == load_relaxed(&peak_epoch)) {
        sums->peak_objects += (int64_t)load_relaxed(&shard->values[PEAK_OBJECTS]);
        sums->peak_bytes += (int64_t)load_relaxed(&shard->values[PEAK_BYTES]);
    } else {
        sum_freed(shard, sums);
        sum_allocated(shard, sums);
    }
}

static int64_t not_negative(int64_t value)
{
    return value > 0 ? value : 0;
}

void heap_read(struct record *record, int64_t *ret_values)
{
    struct sums sums = {0};

    record_each_shard(record, sum_freed, &sums);
    record_each_shard(record, sum_allocated, &sums);
    ret_values[0] = (int64_t)(sums.alloc_objects / SAMPLER_OBJECT);
    ret_values[1] = (int64_t)sums.alloc_bytes;
    ret_values[2] =
        not_negative((int64_t)(sums.alloc_objects - sums.free_objects)) / SAMPLER_OBJECT;
    ret_values[3] = not_negative((int64_t)(sums.alloc_bytes - sums.free_bytes));
}

void heap_peak_read(struct record *record, int64_t *ret_values)
{
    struct sums sums = {0};

    record_each_shard(record, sum_peak, &sums);
    sums.peak_objects += (int64_t)(sums.alloc_objects - sums.free_objects);
    sums.peak_bytes += (int64_t)(sums.alloc_bytes - sums.free_bytes);
    ret_values[0] = not_negative(sums.peak_objects) / SAMPLER_OBJECT;
    ret_values[1] = not_negative(sums.peak_bytes);
}

/* ---- age ---- */

struct age_sums {
    uint64_t min_age_s;
    uint64_t *sums;
    size_t n_records;
};

static void add_if_old(const struct live *object, void *arg)
{
    struct age_sums *sums = arg;
    const size_t record = object->value >> RECORD_SHIFT;

    if (object->age_s < sums->min_age_s || record >= sums->n_records || !object->value)
        return;
    const struct sampler_weight weight = value_weight(object->value);
    sums->sums[2 * record] += weight.objects;
    sums->sums[2 * record + 1] += weight.bytes;
}

// NOLINTNEXTLINE(readability-non-const-parameter): add_if_old
void heap_sum_by_age(uint64_t min_age_s, uint64_t *sums, size_t n_records)
{
    struct age_sums arg = {min_age_s, sums, n_records};

    livetab_each(&live, clock_mono_s(), add_if_old, &arg);
}

static void add_to_band(const struct live *object, void *arg)
{
    if (!object->value)
        return;
    const struct sampler_weight weight = value_weight(object->value);
    ages_add(arg, object->age_s, weight.objects, weight.bytes);
}

void heap_comment(void (*add)(void *arg, const char *line), void *arg)
{
    struct ages ages = {0};
    char buffer[256];
    struct text line;

    text_init(&line, buffer, sizeof buffer);
    text_addf(&line, "heap rate: %lu bytes", heap_rate());
    add(arg, buffer);
    if (load_relaxed(&n_refused_rates)) {
        text_init(&line, buffer, sizeof buffer);
        text_addf(&line, "heap rate: %lu changes refused: there were %d rates already",
                  load_relaxed(&n_refused_rates), RATES_MAX);
        add(arg, buffer);
    }
    if (note)
        add(arg, note);
    livetab_each(&live, clock_mono_s(), add_to_band, &ages);
    ages_comment(&ages, SAMPLER_OBJECT, add, arg);
}
