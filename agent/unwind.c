/* unwind - see unwind.h. */
#include "agent/unwind.h"

#if defined(__x86_64__) || defined(__aarch64__)

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <signal.h>

#include "agent/cfi.h"
#include "agent/modules.h"
#include "agent/stack.h"
#include "agent/thread.h"
#include "base/atomic.h"
#include "base/compiler.h"

enum { PAGE_BYTES = 4096 };

/* Since glibc 2.35. */
#pragma weak _dl_find_object

/* ---- the cache: pc to rule ---- */

/* Two words that writers may mix: then `check` does not fit and the entry counts as empty. */
struct slot {
    _Atomic uint64_t check; /* key ^ scrambled rule */
    _Atomic uint64_t rule;
};

/* Four slots (a cache line) serve 64 bytes of code: functions begin at multiples of 16, so a chain of small ones does
 * not fight for a line (with 128 bytes a line it did: 65 frames took 8 us instead of 0.4).  The cache grows with what it
 * is asked for: its index gets a bit more after as many misses as a quarter of its slots, and what stood at an index
 * that has changed is found out anew.  A page that is touched for the first time costs more than a rule does. */
enum { N_SLOTS_MIN = 1 << 8, N_SLOTS = 1 << 15, N_WAYS = 4, ADDRESS_BITS = 48 };

/* What no pc has set: there a key says is_exact.  Programs have 47 bits of addresses; on aarch64 48, and instructions of
 * four bytes. */
#if defined(__aarch64__)
enum { EXACT_BIT = 0, USER_BITS = 48, CODE_ALIGN = 4 };
#else
enum { EXACT_BIT = ADDRESS_BITS - 1, USER_BITS = 47, CODE_ALIGN = 1 };
#endif

static struct slot slots[N_SLOTS] LARGE
    ALIGNED(4096); /* pages that were never looked up take no memory */
static _Atomic uint32_t slots_mask = N_SLOTS_MIN - 1;
static _Atomic uint32_t n_misses; /* since the mask was set */

union word {
    struct cfi_rule rule;
    uint64_t bits;
};

/* Few operations: they are part of the chain from one frame to the next. */
static inline size_t slot_index(uintptr_t pc, uint32_t mask)
{
    return (pc ^ pc >> 7) / 16 & mask;
}

/* The same pc as a return address and as an interrupted instruction may have two rules. */
static inline uint64_t key_of(uintptr_t pc, bool is_exact, uint64_t epoch_bits)
{
    return (pc ^ epoch_bits) | (uint64_t)is_exact << EXACT_BIT;
}

/* How a walk looks pcs up. */
struct view {
    uint64_t epoch_bits; /* of the keys */
    uint32_t mask;       /* of the index */
};

/* Of the epoch a key holds 29 bits: 16 above the address, 13 over the bits of it that the line implies
 * together with those above them (slot_index without the way).  A shorter index implies less: with 65536
 * loads and unloads all of the cache is used. */
static struct view view_now(void)
{
    enum { HIGH_BITS = 64 - ADDRESS_BITS, LINE_BITS = 13, LINE_SHIFT = 6 };
    const uint32_t epoch = modules_epoch(), high = epoch >> HIGH_BITS;

    _Static_assert(N_SLOTS / N_WAYS == 1 << LINE_BITS, "one bit more would alias");
    return (struct view){
        .epoch_bits = (uint64_t)epoch << ADDRESS_BITS |
                      (uint64_t)(high & ((1 << LINE_BITS) - 1)) << LINE_SHIFT,
        .mask = high ? N_SLOTS - 1 : load_relaxed(&slots_mask),
    };
}

static inline uint64_t scramble(uint64_t rule)
{
    return rule * 0x9e3779b97f4a7c15;
}

static inline bool slot_get(struct slot *slot, uint64_t key, struct cfi_rule *ret_rule)
{
    const union word word = {.bits = load_relaxed(&slot->rule)};

    *ret_rule = word.rule;
    return (load_relaxed(&slot->check) ^ scramble(word.bits)) == key;
}

static bool is_of_epoch(struct slot *slot, uint64_t key)
{
    const uint64_t other = load_relaxed(&slot->check) ^ scramble(load_relaxed(&slot->rule));

    return other != 0 && (other ^ key) >> ADDRESS_BITS == 0;
}

static void cache_grow(uint32_t mask)
{
    if (add_relaxed(&n_misses, 1) < mask / 4 || mask == N_SLOTS - 1)
        return;
    if (cas_relaxed(&slots_mask, &mask, 2 * mask + 1))
        store_relaxed(&n_misses, 0);
}

/* Takes a slot of its line that is empty or outdated, else its first choice. */
static void cache_put(size_t first, uint64_t key, struct cfi_rule rule)
{
    const union word word = {.rule = rule};
    struct slot *slot = &slots[first];

    for (size_t way = 0; way < N_WAYS; way++) {
        if (!is_of_epoch(&slots[first ^ way], key)) {
            slot = &slots[first ^ way];
            break;
        }
    }
    store_relaxed(&slot->rule, word.bits);
    store_relaxed(&slot->check, key ^ scramble(word.bits));
}

size_t unwind_n_rules(void)
{
    return load_relaxed(&slots_mask) + 1;
}

bool unwind_is_supported(void)
{
    return _dl_find_object != NULL;  // NOLINT
}

/* ---- a walk ---- */

#if defined(__aarch64__)
typedef unsigned long long machine_register;
#define REGISTERS_OF(context) ((context)->uc_mcontext.regs)
#define LINK_REGISTER         true /* calls leave their return address in `bx` */
#else
typedef greg_t machine_register;
#define REGISTERS_OF(context) ((context)->uc_mcontext.gregs)
#define LINK_REGISTER         false
#endif

struct walk {
    uintptr_t pc, sp, bp, bx;
    uintptr_t low, high; /* readable stack around sp */
    struct view view;
    const machine_register
        *regs; /* of an interrupted instruction; NULL: not at one, or not known */
    bool is_exact;
    bool is_guessed; /* since a guess pc may be anything */
    bool is_cut;     /* the copy ended */
#if defined(__aarch64__)
    bool is_sp_low; /* after a guess: sp is somewhere above */
#endif
    uintptr_t copy_low,
        copy_bytes;       /* which memory the stack is a copy of; 0 bytes: it is none */
    uintptr_t copy_shift; /* from there to the copy */
    struct unwind_memo *memo;
    uint32_t n_words;       /* in it; above UNWIND_WORDS_MAX: it cannot be kept */
    uintptr_t bp_at, bx_at; /* where the present values were read; 0: they are the first ones */
};

/* ---- a miss: the object's tables ---- */

struct range {
    uintptr_t low, limit;
};

/* The segment around `address` with the permissions `flags`.  Objects without headers where linkers put them count as one. */
static struct range segment_of(const struct dl_find_object *object, uintptr_t address,
                               uint32_t flags)
{
    const uintptr_t start = (uintptr_t)object->dlfo_map_start;
    const uintptr_t limit = (uintptr_t)object->dlfo_map_end;
    const ElfW(Ehdr) *elf = object->dlfo_map_start;
    const struct range none = {0, 0};

    if (address < start || address >= limit)
        return none;
    if (__builtin_memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 ||
        elf->e_phentsize != sizeof(ElfW(Phdr)) || elf->e_phoff > PAGE_BYTES ||
        elf->e_phoff + elf->e_phnum * sizeof(ElfW(Phdr)) > PAGE_BYTES)
        return (struct range){start, limit};
    const ElfW(Phdr) *segments = (const void *)(start + elf->e_phoff);
    for (int i = 0; i < elf->e_phnum; i++) {
        const uintptr_t low = object->dlfo_link_map->l_addr + segments[i].p_vaddr;
        if (segments[i].p_type == PT_LOAD && (segments[i].p_flags & flags) == flags &&
            address - low < segments[i].p_filesz)
            return (struct range){low, low + segments[i].p_filesz};
    }
    return none;
}

static bool image_of(const struct dl_find_object *object, struct cfi_image *ret_image)
{
    const uint8_t *header = object->dlfo_eh_frame;
    const struct range around = segment_of(object, (uintptr_t)header, PF_R);

    if (!around.limit)
        return false;
    const uint8_t *header_limit = header + (around.limit - (uintptr_t)header);
    const uint8_t *frames = cfi_frames_of(header, header_limit);
    const struct range tables = (uintptr_t)frames - around.low < around.limit - around.low
                                    ? around
                                    : segment_of(object, (uintptr_t)frames, PF_R);
    *ret_image = (struct cfi_image){
        .header = header,
        .header_limit = header_limit,
        .low = (const uint8_t *)tables.low,      // NOLINT
        .limit = (const uint8_t *)tables.limit,  // NOLINT
    };
    return tables.limit != 0;
}

static struct cfi_rule find_rule(const struct dl_find_object *object, uintptr_t pc)
{
    struct cfi_rule rule = {.cfa = CFI_NONE};
    struct cfi_image image;

    if (object->dlfo_eh_frame && image_of(object, &image))
        rule = cfi_find(&image, pc);
    if (rule.cfa == CFI_NONE)
        rule.cfa = CFI_GUESS;
    return rule;
}

#if defined(__aarch64__)

/* A handler returns to two instructions of the kernel's, which tables describe wrongly or not at all. */
static bool is_sigreturn(uintptr_t pc)
{
    static const uint32_t code[] = {0xd2801168, 0xd4000001}; /* mov x8, #139; svc #0 */

    return pc % sizeof *code == 0 && pc >= PAGE_BYTES && pc >> USER_BITS == 0 &&
           stack_is_readable(pc) && stack_is_readable(pc + 4) &&
           __builtin_memcmp((const void *)pc, code, sizeof code) == 0;  // NOLINT
}

static struct cfi_rule rule_without_tables(uintptr_t pc)
{
    return (struct cfi_rule){.cfa = is_sigreturn(pc) ? CFI_SIGNAL : CFI_GUESS};
}

#else

static inline struct cfi_rule rule_without_tables(uintptr_t pc)
{
    (void)pc;
    return (struct cfi_rule){.cfa = CFI_GUESS};
}

#endif

/* The object that `pc` lies in.  A return address keeps its object loaded; a guess does not, and
 * dlclose() may unmap what it hits, so the kernel is asked first.  (What is unmapped right afterwards we would still read.) */
static bool find_object(uintptr_t pc, bool is_guessed, struct dl_find_object *ret_object)
{
    if (_dl_find_object((void *)pc, ret_object) != 0)
        return false;
    return likely(!is_guessed) || (stack_is_readable((uintptr_t)ret_object->dlfo_map_start) &&
                                   (!ret_object->dlfo_eh_frame ||
                                    stack_is_readable((uintptr_t)ret_object->dlfo_eh_frame)));
}

/* Code outside of all objects is not remembered: JIT compilers reuse it, and dlopen may. */
static COLD struct cfi_rule rule_miss(const struct walk *w, uint64_t key)
{
    const uintptr_t pc = w->pc;
    const size_t first = slot_index(pc, w->view.mask);
    struct dl_find_object object;
    struct cfi_rule rule;

    for (size_t way = 1; way < N_WAYS; way++)
        if (slot_get(&slots[first ^ way], key, &rule))
            return rule;
    const uintptr_t look_up_pc = pc - !w->is_exact; /* in the call, not behind it */
    if (pc >> USER_BITS || pc % CODE_ALIGN || !find_object(look_up_pc, w->is_guessed, &object))
        return rule_without_tables(pc);
    rule = find_rule(&object, look_up_pc);
    if (rule.cfa == CFI_GUESS)
        rule = rule_without_tables(pc);
    cache_put(first, key, rule);
    cache_grow(w->view.mask);
    return rule;
}

/* ---- the rule of a frame ---- */

static inline struct cfi_rule rule_at(const struct walk *w)
{
    const uint64_t key = key_of(w->pc, w->is_exact, w->view.epoch_bits);
    struct cfi_rule rule;

    if (likely(slot_get(&slots[slot_index(w->pc, w->view.mask)], key, &rule)))
        return rule;
    return rule_miss(w, key);
}

/* ---- reading the stack ---- */

/* The stacks above the known part are asked for page by page, up to 1 MiB a time. */
enum { PROBE_BYTES_MAX = 1 << 20 };

static COLD bool extend(struct walk *w, uintptr_t limit)
{
    const uintptr_t page_mask = ~(uintptr_t)(PAGE_BYTES - 1);
    uintptr_t high = (w->high + PAGE_BYTES - 1) & page_mask;

    if (w->copy_bytes) {
        w->is_cut = true;
        return false;
    }
    if (limit < w->high || limit - w->high > PROBE_BYTES_MAX)
        return false;
    for (; high < limit; high += PAGE_BYTES)
        if (!stack_is_readable(high))
            return false;
    w->high = high;
    return true;
}

/* True when the word at `at` may be read. */
static inline bool can_read(struct walk *w, uintptr_t at)
{
    if (likely(at >= w->low && at <= w->high - sizeof(uintptr_t)))
        return true;
    return at >= w->low && at + sizeof(uintptr_t) > at && extend(w, at + sizeof(uintptr_t));
}

/* Words of other frames, whatever they are to the compiler and to the sanitizers. */
static inline __attribute__((no_sanitize("address", "thread"))) uintptr_t word_at(uintptr_t at)
{
    return *(const volatile uintptr_t *)at;  // NOLINT
}

#if defined(__aarch64__)
/* A return address without the signature that `paciasp` put into its upper bits. */
static inline uintptr_t stripped(uintptr_t pc)
{
    register uintptr_t x30 __asm__("x30") = pc;

    __asm__("hint #7" : "+r"(x30)); /* xpaclri; nothing where there are no signatures */
    return x30;
}
#endif

/* Addresses of the stack that was copied, as they stand in registers and frames, are those of the copy. */
static inline uintptr_t relocated(const struct walk *w, uintptr_t value)
{
    return unlikely(value - w->copy_low < w->copy_bytes) ? value + w->copy_shift : value;
}

/* Begins on the stack around `sp`: the thread's own one, or the page there. */
static bool enter_stack(struct walk *w, uintptr_t sp)
{
    if (sp % sizeof(uintptr_t) != 0)
        return false;
    if (w->copy_bytes)
        return sp >= w->low && sp < w->high;
    if (likely(stack_is_own(sp))) {
        w->low = thread_self.stack_low;
        w->high = thread_self.stack_high;
        return true;
    }
    if (!stack_is_readable(sp))
        return false;
    w->low = sp & ~(uintptr_t)(PAGE_BYTES - 1);
    w->high = w->low + PAGE_BYTES;
    return w->high > w->low;
}

/* ---- from frame to frame ---- */

/* For a guess. */
static bool is_code(uintptr_t pc)
{
    struct dl_find_object object;

    return find_object(pc, true, &object) && segment_of(&object, pc, PF_X).limit != 0;
}

#if defined(__aarch64__)

/* From an interrupted leaf without tables to its caller, or by the frame pointer.  Where the caller's sp is
 * the frame pointer does not say. */
static COLD bool step_by_guess(struct walk *w)
{
    const bool has_record = w->bp >= w->sp && w->bp % sizeof(uintptr_t) == 0 &&
                            can_read(w, w->bp + sizeof(uintptr_t));
    const uintptr_t saved = has_record ? stripped(word_at(w->bp + sizeof(uintptr_t))) : 0;

    w->is_guessed = true;
    if (w->is_exact && stripped(w->bx) != saved && is_code(stripped(w->bx))) {
        w->pc = stripped(w->bx);
        w->is_sp_low = true;
        return true;
    }
    if (!has_record)
        return false;
    w->pc = saved;
    w->sp = w->bp + 2 * sizeof(uintptr_t);
    w->bp = relocated(w, word_at(w->bp));
    w->is_sp_low = true;
    return w->pc >> USER_BITS == 0;
}

static COLD bool step_out_of_handler(struct walk *w)
{
    const ucontext_t *context = (const void *)(w->sp + sizeof(siginfo_t));  // NOLINT

    if (!can_read(w, (uintptr_t)&context->uc_mcontext.pc))
        return false;
    w->regs = context->uc_mcontext.regs;
    w->pc = word_at((uintptr_t)&context->uc_mcontext.pc);
    w->bp = relocated(w, word_at((uintptr_t)&w->regs[29]));
    w->bx = word_at((uintptr_t)&w->regs[30]);
    w->sp = relocated(w, word_at((uintptr_t)&context->uc_mcontext.sp));
    w->is_sp_low = false;
    return enter_stack(w, w->sp);
}

static COLD uintptr_t register_of(const struct walk *w, int reg)
{
    return w->regs && reg >= 0 && reg < 31 ? relocated(w, word_at((uintptr_t)&w->regs[reg]))
                                           : 0;
}

#else

/* From an interrupted leaf without tables to its caller, or by the frame pointer. */
static COLD bool step_by_guess(struct walk *w)
{
    w->is_guessed = true;
    if (w->is_exact && can_read(w, w->sp) && is_code(word_at(w->sp))) {
        w->pc = word_at(w->sp);
        w->sp += sizeof(uintptr_t);
        return true;
    }
    if (w->bp < w->sp || w->bp % sizeof(uintptr_t) != 0 ||
        !can_read(w, w->bp + sizeof(uintptr_t)))
        return false;
    w->pc = word_at(w->bp + sizeof(uintptr_t));
    w->sp = w->bp + 2 * sizeof(uintptr_t);
    w->bp = relocated(w, word_at(w->bp));
    return w->pc >> USER_BITS == 0;
}

static COLD bool step_out_of_handler(struct walk *w)
{
    const ucontext_t *context = (const void *)w->sp;  // NOLINT

    if (!can_read(w, (uintptr_t)(&context->uc_mcontext.gregs[NGREG]) - sizeof(greg_t)))
        return false;
    w->regs = context->uc_mcontext.gregs;
    w->pc = word_at((uintptr_t)&w->regs[REG_RIP]);
    w->bp = relocated(w, word_at((uintptr_t)&w->regs[REG_RBP]));
    w->bx = relocated(w, word_at((uintptr_t)&w->regs[REG_RBX]));
    w->sp = relocated(w, word_at((uintptr_t)&w->regs[REG_RSP]));
    return enter_stack(w, w->sp);
}

static COLD uintptr_t register_of(const struct walk *w, int reg)
{
    static const uint8_t order[16] = {
        REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    };

    return w->regs && reg >= 0 && reg < 16
               ? relocated(w, word_at((uintptr_t)&w->regs[order[reg]]))
               : 0;
}

#endif

/* The CFAs that are not register + offset; 0: cannot tell. */
static COLD uintptr_t rare_cfa(struct walk *w, struct cfi_rule rule)
{
    const uintptr_t base = rule.cfa == CFI_SP_DEREF ? w->sp : w->bp;
    const uintptr_t at = base + (uintptr_t)cfi_inner(rule);

    switch (rule.cfa) {
    case CFI_BX: return w->bx + (uintptr_t)rule.cfa_offset;
    case CFI_REGISTER: return register_of(w, cfi_inner(rule)) + (uintptr_t)cfi_outer(rule);
    case CFI_SP_DEREF:
    case CFI_BP_DEREF:
        return at % sizeof(uintptr_t) == 0 && can_read(w, at)
                   ? relocated(w, word_at(at)) + (uintptr_t)cfi_outer(rule)
                   : 0;
    default: return 0; /* CFI_END, CFI_UNKNOWN */
    }
}

/* A caller's frame lies above; only our own switch of stacks leads elsewhere, up or down. */
static COLD bool changes_stack(struct walk *w, uintptr_t cfa)
{
    extern const char stack_switch_return[] __attribute__((visibility("hidden")));

    return w->pc == (uintptr_t)stack_switch_return && cfa > 2 * sizeof(uintptr_t) &&
           enter_stack(w, cfa - 2 * sizeof(uintptr_t)) && can_read(w, cfa - sizeof(uintptr_t));
}

static uintptr_t slot_address(uintptr_t base, int slot)
{
    return base + (uintptr_t)(slot * (intptr_t)sizeof(uintptr_t));
}

/* What the slots of a rule are counted from; `bp` as it is before the step. */
static inline uintptr_t slots_base(struct cfi_rule rule, uintptr_t cfa, uintptr_t bp)
{
#if defined(__aarch64__)
    (void)bp;
    return rule.flags & CFI_SAVED_AT_BP ? cfa - (uintptr_t)rule.cfa_offset : cfa;
#else
    return rule.flags & CFI_SAVED_AT_BP ? bp : cfa;
#endif
}

/* ---- what decides a walk ---- */

enum { UNWIND_NEEDS_BP = 1, UNWIND_NEEDS_BX = 2 };

/* What lies below the first sp, or far above, is not remembered. */
static void memo_word(struct walk *w, uintptr_t at, uintptr_t value)
{
    const uintptr_t place = (at - load_relaxed(&w->memo->sp)) / sizeof(uintptr_t);

    if (place > UINT16_MAX || at % sizeof(uintptr_t) != 0) {
        w->n_words = UNWIND_WORDS_MAX + 1;
        return;
    }
    if (w->n_words < UNWIND_WORDS_MAX) {
        store_relaxed(&w->memo->places[w->n_words], (uint16_t)place);
        store_relaxed(&w->memo->values[w->n_words], value);
    }
    w->n_words++;
}

static void memo_register(struct walk *w, uintptr_t at, uintptr_t value, uint32_t first)
{
    if (at)
        memo_word(w, at, value);
    else
        store_relaxed(&w->memo->needs, load_relaxed(&w->memo->needs) | first);
}

/* Before the step: which registers it takes.  Rare kinds of frames are not remembered. */
static void memo_step(struct walk *w, struct cfi_rule rule)
{
    if (rule.cfa == CFI_BP || (rule.flags & CFI_SAVED_AT_BP))
        memo_register(w, w->bp_at, w->bp, UNWIND_NEEDS_BP);
    if (rule.cfa == CFI_BX || (LINK_REGISTER && !(rule.flags & CFI_SAVED_BX)))
        memo_register(w, w->bx_at, w->bx, UNWIND_NEEDS_BX);
    if (rule.cfa != CFI_SP && rule.cfa != CFI_BP && rule.cfa != CFI_BX && rule.cfa != CFI_END)
        w->n_words = UNWIND_WORDS_MAX + 1;
}

/* In GCC's epilogues of realigned frames rbp is the caller's already and the table does not say
 * so: what cannot be read keeps its value. */
static void restore(struct walk *w, uintptr_t at, uintptr_t *ret_reg)
{
    if (at % sizeof(uintptr_t) == 0 && can_read(w, at))
        *ret_reg = word_at(at);
}

/* is_copy is known where this is inlined: the walk of the thread's own stack has nothing to relocate. */
#if defined(__aarch64__)

/* After a guess: functions that keep a frame pointer have it where they saved the old one. */
static COLD uintptr_t cfa_by_frame_pointer(struct walk *w, struct cfi_rule rule)
{
    const uintptr_t from_cfa =
        w->bp - (uintptr_t)(rule.bp_offset * (intptr_t)sizeof(uintptr_t));

    w->is_sp_low = false;
    if (!(rule.flags & CFI_SAVED_BP))
        return 0;
    return from_cfa + (rule.flags & CFI_SAVED_AT_BP ? (uintptr_t)rule.cfa_offset : 0);
}

/* A leaf has no frame: its caller's sp is its own. */
static inline __attribute__((always_inline)) bool step_to(struct walk *w, struct cfi_rule rule,
                                                          uintptr_t cfa, bool is_copy)
{
    const bool is_leaf = w->is_exact && !(rule.flags & CFI_SAVED_BX);

    if (unlikely(w->is_sp_low) && rule.cfa == CFI_SP)
        cfa = cfa_by_frame_pointer(w, rule);
    w->is_sp_low = false;
    const uintptr_t base = slots_base(rule, cfa, w->bp);
    const uintptr_t link_at = slot_address(base, rule.bx_offset);
    if (unlikely(is_leaf ? cfa < w->sp
                         : cfa <= w->sp || !can_read(w, cfa - sizeof(uintptr_t))) &&
        !changes_stack(w, cfa))
        return false;
    if (unlikely(cfa % sizeof(uintptr_t) != 0 || (!is_leaf && !(rule.flags & CFI_SAVED_BX))))
        return false;
    if (!is_leaf) {
        if (!can_read(w, link_at))
            return false;
        w->bx = word_at(link_at);
    }
    if (rule.flags & CFI_SAVED_BP)
        restore(w, slot_address(base, rule.bp_offset), &w->bp);
    if (is_copy)
        w->bp = relocated(w, w->bp);
    w->pc = stripped(w->bx);
    w->sp = cfa;
    return true;
}

#else

static inline __attribute__((always_inline)) bool step_to(struct walk *w, struct cfi_rule rule,
                                                          uintptr_t cfa, bool is_copy)
{
    const uintptr_t base = rule.flags & CFI_SAVED_AT_BP ? w->bp : cfa;

    if (unlikely(cfa <= w->sp || !can_read(w, cfa - sizeof(uintptr_t))) &&
        !changes_stack(w, cfa))
        return false;
    if (unlikely(cfa % sizeof(uintptr_t) != 0))
        return false;
    w->pc = word_at(cfa - sizeof(uintptr_t));
    if (rule.flags & CFI_SAVED_BX)
        restore(w, slot_address(base, rule.bx_offset), &w->bx);
    if (rule.flags & CFI_SAVED_BP)
        restore(w, slot_address(base, rule.bp_offset), &w->bp);
    if (is_copy) {
        w->bx = relocated(w, w->bx);
        w->bp = relocated(w, w->bp);
    }
    w->sp = cfa;
    return true;
}

#endif

/* 6.5 ns in a deep recursion (tests/unit/unwind_test.c). */
static inline __attribute__((always_inline)) bool step(struct walk *w, bool is_copy)
{
    const struct cfi_rule rule = rule_at(w);
    bool is_done;

    switch (rule.cfa) {
    case CFI_SP: is_done = step_to(w, rule, w->sp + (uintptr_t)rule.cfa_offset, is_copy); break;
    case CFI_BP: is_done = step_to(w, rule, w->bp + (uintptr_t)rule.cfa_offset, is_copy); break;
    case CFI_GUESS: is_done = step_by_guess(w); break;
    case CFI_SIGNAL: w->is_exact = true; return step_out_of_handler(w);
    default: is_done = step_to(w, rule, rare_cfa(w, rule), is_copy);
    }
    w->is_exact = rule.cfa != CFI_GUESS && rule.flags & CFI_INTERRUPTED;
    w->regs = NULL;
    return is_done;
}

/* The same, noting what decides it. */
static COLD bool step_noting(struct walk *w)
{
    const uintptr_t low = w->low, high = w->high;
    const struct cfi_rule rule = rule_at(w);

    memo_step(w, rule);
    const uintptr_t bp = w->bp;
    const bool is_done = step(w, false);
    if (w->low != low || w->high != high)
        w->n_words = UNWIND_WORDS_MAX + 1;
    if (!is_done)
        return false;
    const uintptr_t base = slots_base(rule, w->sp, bp);
    if (!LINK_REGISTER)
        memo_word(w, w->sp - sizeof(uintptr_t), w->pc);
    else if (rule.flags & CFI_SAVED_BX)
        memo_word(w, slot_address(base, rule.bx_offset), w->bx);
    if (rule.flags & CFI_SAVED_BX)
        w->bx_at = slot_address(base, rule.bx_offset);
    if (rule.flags & CFI_SAVED_BP)
        w->bp_at = slot_address(base, rule.bp_offset);
    return true;
}

static inline __attribute__((always_inline)) size_t walk_on(struct walk *w, uintptr_t *ret_pcs,
                                                            size_t max, bool is_copy)
{
    size_t n = 0;

    while (n < max && step(w, is_copy) && w->pc != 0 && w->pc != UINTPTR_MAX)
        ret_pcs[n++] = w->pc + w->is_exact;
    return n;
}

size_t unwind_walk(struct unwind_frame from, uintptr_t *ret_pcs, size_t max)
{
    struct walk w = {
        .pc = from.pc,
        .sp = from.sp,
        .bp = from.bp,
        .bx = from.bx,
        .is_exact = from.is_exact,
        .regs = from.context ? REGISTERS_OF(from.context) : NULL,
        .view = view_now(),
    };

    if (unlikely(!unwind_is_supported()))
        return 0;
    if (!enter_stack(&w, from.sp))
        return 0;
    return walk_on(&w, ret_pcs, max, false);
}

/* ---- walks that are remembered ---- */

enum { MEMO_BITS = 9 };

static struct unwind_memo memos[1 << MEMO_BITS] LARGE;

static inline uint64_t memo_key(const struct unwind_frame *from)
{
    return (from->pc ^ from->sp >> 4 ^ from->caller << 8) * 0x9e3779b97f4a7c15;
}

static inline struct unwind_memo *memo_of(uint64_t key)
{
    struct unwind_memo *memo = &memos[key >> (64 - MEMO_BITS)];

    __asm__("" : "+r"(memo)); /* compilers would compute the place of each member anew */
    return memo;
}

/* A walk that began so, on the stack as it is known now. */
static inline bool begins_same(const struct unwind_memo *memo, const struct unwind_frame *from,
                               uintptr_t low, uintptr_t high)
{
    const uint32_t needs = load_relaxed(&memo->needs);

    return ((load_relaxed(&memo->pc) ^ from->pc) | (load_relaxed(&memo->sp) ^ from->sp) |
            (load_relaxed(&memo->low) ^ low) | (load_relaxed(&memo->high) ^ high) |
            (load_relaxed(&memo->epoch) ^ modules_epoch())) == 0 &&
           from->sp >= low && from->sp < high &&
           (!(needs & UNWIND_NEEDS_BP) || load_relaxed(&memo->bp) == from->bp) &&
           (!(needs & UNWIND_NEEDS_BX) || load_relaxed(&memo->bx) == from->bx);
}

/* The entry may change while it is read: only what lies in the known stack is looked at. */
static inline bool is_unchanged(const struct unwind_memo *memo, uintptr_t sp, uintptr_t high)
{
    const uintptr_t n_known = (high - sp) / sizeof(uintptr_t);
    uint32_t i = load_relaxed(&memo->n_words);

    if (i - 1 >= UNWIND_WORDS_MAX) /* none, too */
        return false;
    while (i-- > 0) {
        const uintptr_t place = load_relaxed(&memo->places[i]);
        if (place >= n_known ||
            word_at(sp + place * sizeof(uintptr_t)) != load_relaxed(&memo->values[i]))
            return false;
    }
    return true;
}

uintptr_t unwind_recall(const struct unwind_frame *from)
{
    const struct unwind_memo *memo = memo_of(memo_key(from));
    const uintptr_t low = thread_self.stack_low, high = thread_self.stack_high;
    const uint32_t seq = load_acquire(&memo->seq); /* pairs with unwind_remember */

    if (seq % 2 || !begins_same(memo, from, low, high) || !is_unchanged(memo, from->sp, high))
        return 0;
    const uintptr_t result = load_relaxed(&memo->result);
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed(&memo->seq) == seq ? result : 0;
}

/* NULL: this one is not kept. */
static struct unwind_memo *memo_begin(const struct unwind_frame *from)
{
    const uint64_t key = memo_key(from);
    struct unwind_memo *memo = memo_of(key);
    uint32_t seq = load_relaxed(&memo->seq);

    if (load_relaxed(&memo->met) != key) {
        store_relaxed(&memo->met, key);
        return NULL;
    }
    if (load_relaxed(&memo->too_long) == key || seq % 2 || from->context ||
        from->sp % sizeof(uintptr_t) != 0 || !cas_acq_rel(&memo->seq, &seq, seq + 1))
        return NULL;
    atomic_thread_fence(memory_order_release);
    store_relaxed(&memo->n_words, 0);
    store_relaxed(&memo->needs, 0);
    store_relaxed(&memo->epoch, modules_epoch());
    store_relaxed(&memo->pc, from->pc);
    store_relaxed(&memo->sp, from->sp);
    store_relaxed(&memo->bp, from->bp);
    store_relaxed(&memo->bx, from->bx);
    return memo;
}

size_t unwind_walk_memo(const struct unwind_frame *from, uintptr_t *ret_pcs, size_t max,
                        struct unwind_memo **ret_memo)
{
    struct walk w = {
        .pc = from->pc,
        .sp = from->sp,
        .bp = from->bp,
        .bx = from->bx,
        .is_exact = from->is_exact,
        .view = view_now(),
    };
    size_t n = 0;

    *ret_memo = NULL;
    if (!stack_is_own(from->sp) || !(w.memo = memo_begin(from)))
        return unwind_walk(*from, ret_pcs, max);
    *ret_memo = w.memo;
    enter_stack(&w, from->sp);
    store_relaxed(&w.memo->low, w.low);
    store_relaxed(&w.memo->high, w.high);
    while (n < max && step_noting(&w) && w.pc != 0 && w.pc != UINTPTR_MAX)
        ret_pcs[n++] = w.pc + w.is_exact;
    const bool fits = w.n_words <= UNWIND_WORDS_MAX;
    store_relaxed(&w.memo->n_words, fits ? w.n_words : 0);
    store_relaxed(&w.memo->too_long, fits ? 0 : memo_key(from));
    return n;
}

void unwind_remember(struct unwind_memo *memo, uintptr_t result)
{
    store_relaxed(&memo->result, result);
    store_release(&memo->seq, load_relaxed(&memo->seq) + 1); /* pairs with unwind_recall */
}

/* What another thread's frames return to may be unloaded under our feet, so it counts as guessed. */
COLD size_t unwind_walk_copy(struct unwind_frame from, const struct unwind_copy *copy,
                             uintptr_t *ret_pcs, size_t max, bool *ret_is_cut)
{
    struct walk w = {
        .pc = from.pc,
        .is_exact = from.is_exact,
        .is_guessed = true,
        .low = (uintptr_t)copy->data,
        .high = (uintptr_t)copy->data + copy->size,
        .copy_low = copy->low,
        .copy_bytes = copy->size,
        .copy_shift = (uintptr_t)copy->data - copy->low,
        .view = view_now(),
    };

    w.sp = relocated(&w, from.sp);
    w.bp = relocated(&w, from.bp);
    w.bx = relocated(&w, from.bx);
    const size_t n =
        unwind_is_supported() && enter_stack(&w, w.sp) ? walk_on(&w, ret_pcs, max, true) : 0;
    *ret_is_cut = w.is_cut;
    return n;
}

static bool is_bare(struct cfi_rule rule)
{
#if defined(__aarch64__)
    return rule.cfa == CFI_SP && rule.cfa_offset == 16 && rule.bp_offset == -2 &&
           rule.bx_offset == -1 && rule.flags == (CFI_SAVED_BP | CFI_SAVED_BX);
#else
    return rule.cfa == CFI_SP && rule.cfa_offset > 0 &&
           rule.cfa_offset <= 4 * (int)sizeof(uintptr_t) && !rule.flags;
#endif
}

enum unwind_place unwind_place_of(uintptr_t pc)
{
    struct dl_find_object object;
    struct cfi_image image;

    if (!unwind_is_supported() || !find_object(pc - 1, false, &object))
        return UNWIND_OTHER;
    const struct cfi_rule rule = find_rule(&object, pc - 1);
    if (rule.cfa == CFI_GUESS)
        return UNWIND_GUESS;
    return is_bare(rule) && image_of(&object, &image) && !cfi_has_handler(&image, pc - 1)
               ? UNWIND_BARE
               : UNWIND_OTHER;
}

#else

enum unwind_place unwind_place_of(uintptr_t pc)
{
    (void)pc;
    return UNWIND_OTHER;
}

bool unwind_is_supported(void)
{
    return false;
}

size_t unwind_n_rules(void)
{
    return 0;
}

size_t unwind_walk(struct unwind_frame from, uintptr_t *ret_pcs, size_t max)
{
    (void)from;
    (void)ret_pcs;
    (void)max;
    return 0;
}

uintptr_t unwind_recall(const struct unwind_frame *from)
{
    (void)from;
    return 0;
}

size_t unwind_walk_memo(const struct unwind_frame *from, uintptr_t *ret_pcs, size_t max,
                        struct unwind_memo **ret_memo)
{
    *ret_memo = NULL;
    return unwind_walk(*from, ret_pcs, max);
}

void unwind_remember(struct unwind_memo *memo, uintptr_t result)
{
    (void)memo;
    (void)result;
}

size_t unwind_walk_copy(struct unwind_frame from, const struct unwind_copy *copy,
                        uintptr_t *ret_pcs, size_t max, bool *ret_is_cut)
{
    (void)copy;
    *ret_is_cut = false;
    return unwind_walk(from, ret_pcs, max);
}

#endif
